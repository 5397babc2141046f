// The threads and the memory of the block that runs, for the files of the emulation.
#pragma once

#include <csetjmp>

#include <ucontext.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "emulation.h"

namespace emulated {

inline constexpr size_t kStackBytes = 64 * 1024;
inline constexpr size_t kSlotBytes = 64;

enum class State { Ready, AtBlock, AtWarp, AtCondition, Done };

struct Copy {
    void * to;
    const void * from;
    size_t bytes, valid_bytes;
};

// A matrix product that is under way.
struct Product {
    float * sums;
    int columns;
    bool add;
    const unsigned * registers;  // of the left operand, or null where it lies in shared memory
    uint64_t left, right;        // descriptors
    std::vector<uint16_t> seen;  // the elements of both that this thread needs, when it started
};

// As a device aligns it.
struct alignas(128) Line {
    unsigned char bytes[128];
};

struct Fiber {
    ucontext_t start;
    jmp_buf place;  // where it waits; changing stacks this way needs no system call
    bool started = false;
    std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStackBytes);
    Index index;
    State state = State::Done;
    const std::function<bool()> * condition = nullptr;  // that it waits for
    std::array<unsigned char, kSlotBytes> slot;
    std::vector<std::vector<Copy>> copies;                   // in groups, the last one is open
    std::vector<std::vector<Product>> products;              // likewise
    bool registers_ordered = false;                          // since products were waited for
    std::vector<std::pair<unsigned char *, size_t>> landed;  // what copies wrote and matrix instructions do not see yet
};

struct Machine {
    jmp_buf scheduler;
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Line> shared;  // dynamic shared memory
    std::vector<Line> shown;   // the same as matrix instructions of warpgroups see it
    Index grid, block, block_at;
    size_t current = 0;
    const std::function<void()> * kernel = nullptr;
    const char * fault = nullptr;  // what a thread did that a device ends a kernel for
    struct {
        int arrived = 0, phase = 0;
    } named_barriers[16];
};

Machine & machine();
Fiber & fiber();

// Ends the kernel: no exception may pass through a fiber, whose stack ends here.
[[noreturn]] void end_with(const char * fault);

}  // namespace emulated
