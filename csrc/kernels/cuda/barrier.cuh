// Barriers between the parts of a block that do different work, and registers that one part lends to another. Code for
// sm_90a alone has them (kernels/cuda/warpgroup.cuh); any other traps.
#pragma once

#include "kernels/cuda/tensor_core.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define LTX_HAS_WARPGROUPS 1
#else
#define LTX_HAS_WARPGROUPS 0
#endif

namespace ltx::cuda {

inline constexpr int kWarpgroup = 4 * kWarp;  // threads

// Counts arrivals of threads in shared memory; its phase ends with the last of those that it expects.
struct Barrier {
    uint64_t state;
};

#if defined(__CUDACC__)

__device__ inline void set_up(Barrier & barrier, unsigned arrivals) {
#if LTX_HAS_WARPGROUPS
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(arrivals) : "memory");
#else
    __trap();
#endif
}

__device__ inline void arrive(Barrier & barrier) {
#if LTX_HAS_WARPGROUPS
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&barrier)) : "memory");
#else
    __trap();
#endif
}

// Waits for the end of the phases 0, 2, 4, ... or 1, 3, 5, ... of a barrier, of whichever is under way or was last. The
// one before phase 0 counts as ended.
__device__ inline void wait_for(Barrier & barrier, int parity) {
#if LTX_HAS_WARPGROUPS
    asm volatile(
        "{\n.reg .pred ended;\nagain:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%0], %1;\n"
        "@!ended bra again;\n}" ::"r"(shared_address(&barrier)),
        "r"(parity)
        : "memory");
#else
    __trap();
#endif
}

// Named barriers of some of a block's threads; number 0 is that of __syncthreads. The second one does not wait.
template <int kThreads>
__device__ void meet(int number) {
    asm volatile("bar.sync %0, %1;" ::"r"(number), "n"(kThreads) : "memory");
}

template <int kThreads>
__device__ void let_pass(int number) {
    asm volatile("bar.arrive %0, %1;" ::"r"(number), "n"(kThreads) : "memory");
}

// Gives registers of each thread of a warpgroup away, down to kCount, or takes as many as others gave.
template <int kCount>
__device__ void give_registers() {
    static_assert(kCount % 8 == 0 && kCount >= 24);
#if LTX_HAS_WARPGROUPS
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
#else
    __trap();
#endif
}

template <int kCount>
__device__ void take_registers() {
    static_assert(kCount % 8 == 0 && kCount <= 256);
#if LTX_HAS_WARPGROUPS
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
#else
    __trap();
#endif
}

#else

inline unsigned shared_address(const void * pointer) {
    return emulated::shared_address(pointer);
}

inline void set_up(Barrier & barrier, unsigned arrivals) {
    emulated::set_up(&barrier.state, arrivals);
}

inline void arrive(Barrier & barrier) {
    emulated::arrive(&barrier.state);
}

inline void wait_for(Barrier & barrier, int parity) {
    emulated::wait_for(&barrier.state, parity);
}

template <int kThreads>
void meet(int number) {
    emulated::meet(number, kThreads, /*waits=*/true);
}

template <int kThreads>
void let_pass(int number) {
    emulated::meet(number, kThreads, /*waits=*/false);
}

template <int kCount>
void give_registers() {
    static_assert(kCount % 8 == 0 && kCount >= 24);
}

template <int kCount>
void take_registers() {
    static_assert(kCount % 8 == 0 && kCount <= 256);
}

#endif

}  // namespace ltx::cuda
