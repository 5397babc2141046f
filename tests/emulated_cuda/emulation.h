// Runs CUDA kernels on the CPU, thread by thread, so that their arithmetic is tested where there is no GPU.
//
// The sources of the kernels are compiled as C++ with this folder in front of CUDA's headers. A block's threads are
// fibers of one operating system thread that take turns at barriers and warp exchanges; asynchronous copies and
// products happen as late as the kernel allows. Launches that no device takes are refused. Speed and races within a
// warp are not emulated, nor is any order of threads but one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

namespace emulated {

struct Index {
    unsigned x = 1, y = 1, z = 1;
};

// Of the thread that runs now.
const Index & thread_index();
const Index & block_index();
const Index & block_size();
const Index & grid_size();
int lane();
unsigned char * dynamic_shared();

// Whether a device would start this: grid and block within its limits, shared memory within what it gives unasked or
// what the kernel was allowed.
bool can_launch(const void * kernel, Index grid, Index block, size_t shared_bytes);

// Lets a kernel have more dynamic shared memory; false beyond the 99 KB that every device with tensor cores has, for
// kernels that are not for one alone.
bool allow_shared(const void * kernel, size_t bytes);

// Scratch memory that launches hold now, and the most so far.
struct ScratchBytes {
    size_t taken = 0;
    size_t most = 0;
};
ScratchBytes & scratch();

// Marks a kernel as compiled for compute capability 9.0 alone, which has 227 KB of shared memory; false on a card for
// which kernels count as compiled for another.
bool take_for_90(const void * kernel);

// What cuBLASLt does with the products that it is asked for, and how many it computed.
enum class LtAnswer { Computes, NoPlan, Refuses };
struct Lt {
    LtAnswer answer = LtAnswer::Computes;
    size_t products = 0;
};
Lt & lt();

// The cards that there are, each as the compute capability, times ten, that kernels count as compiled for on it, and
// the one that calls of this thread are for.
std::vector<int> & cards();
int & card();

// Runs `kernel` once per thread of the grid.
void run(Index grid, Index block, size_t shared_bytes, const std::function<void()> & kernel);

// Waits for the other threads of the block, or of the warp.
void sync_block();
void sync_warp();

// `bytes` of this lane for the others, valid until the warp's next publish. All lanes of the warp must call it.
void publish(const void * data, size_t bytes);
const void * published(int lane);

// A copy into shared memory that happens when its group is waited for.
void copy_later(void * to, const void * from, size_t bytes, size_t valid_bytes);
void close_copies();
void wait_copies(int open_groups);

// Matrix instructions of a warp, as kernels/cuda/tensor_core.cuh describes them. Elements are bfloat16.
void load_matrices(unsigned (&r)[4], const void * row, bool transposed);
void multiply(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]);
// The same over 8-bit integers, as kernels/cuda/int8_product.cuh describes it.
void multiply(int (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]);

// Waits until `holds` is true, which other threads see to.
void wait_until(const std::function<bool()> & holds);

// Where dynamic shared memory lies for a device: not at a multiple of all that a kernel may want.
unsigned shared_address(const void * pointer);

// Matrix instructions of a warpgroup, as kernels/cuda/warpgroup.cuh describes them, over `columns` columns. They happen
// when their group is waited for, and their operands must be the same then as when they started.
void start_product(float * c, int columns, uint64_t a, uint64_t b, bool add);
void start_product(float * c, int columns, const unsigned (&a)[4], uint64_t b);
void order_registers();
void close_products();
void wait_products(int open_groups);

// Lets matrix instructions see what copies of this thread that it waited for wrote; until then they see other bits.
void show_to_products();

// A barrier in shared memory that ends a phase with its last arrival.
void set_up(uint64_t * barrier, unsigned arrivals);
void arrive(uint64_t * barrier);
void wait_for(uint64_t * barrier, int parity);

// One of a block's named barriers, for `threads` of its threads.
void meet(int number, int threads, bool waits);

// Matrix products of warpgroups that were started so far.
size_t & warpgroup_products();

template <typename T>
T from_lane(T value, int source) {
    publish(&value, sizeof(T));
    T result;
    std::memcpy(&result, published(source), sizeof(T));
    sync_warp();
    return result;
}

}  // namespace emulated
