// Runs CUDA kernels on the CPU, thread by thread, so that their arithmetic is tested where there is no GPU.
//
// The sources of the kernels are compiled as C++ with this folder in front of CUDA's headers. A block's threads are
// fibers of one operating system thread that take turns at barriers and warp exchanges; asynchronous copies land as
// late as the kernel allows. Launches that no device takes are refused. Speed and races within a warp are not emulated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

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

// Lets a kernel have more dynamic shared memory; false beyond the 99 KB that every device with tensor cores has.
bool allow_shared(const void * kernel, size_t bytes);

// Scratch memory that launches hold now, and the most so far.
struct ScratchBytes {
    size_t taken = 0;
    size_t most = 0;
};
ScratchBytes & scratch();

// What cuBLASLt does with the products that it is asked for, and how many it computed.
enum class LtAnswer { Computes, NoPlan, Refuses };
struct Lt {
    LtAnswer answer = LtAnswer::Computes;
    size_t products = 0;
};
Lt & lt();

// The compute capability, times ten, that kernels count as compiled for.
int & code_version();

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

template <typename T>
T from_lane(T value, int source) {
    publish(&value, sizeof(T));
    T result;
    std::memcpy(&result, published(source), sizeof(T));
    sync_warp();
    return result;
}

}  // namespace emulated
