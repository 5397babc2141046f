// Matrix instructions of a warpgroup, which read shared memory on their own while its threads go on. Code for sm_90a
// alone has them; any other traps.
//
// Operands lie in panels: rows of kPanel elements (128 bytes), whose eight chunks are swapped by the row's lowest three
// bits (tile_at<kPanel>). A panel starts at a multiple of kPanelAlignment; its rows are 128 bytes apart, and panels of
// a wider operand follow each other.
#pragma once

#include "kernels/cuda/barrier.cuh"

namespace ltx::cuda {

inline constexpr int kPanel = 64;
inline constexpr unsigned kPanelAlignment = 1024;  // the eight rows after which the swapping repeats

// What a matrix instruction is told of an operand in shared memory (PTX ISA, "matrix descriptor" of wgmma): bits 0 to
// 13 hold the address, 16 to 29 the distance of panels, 32 to 45 that of eight rows, all in units of 16 bytes; bit 62
// says that 128 bytes are swapped.
using Operand = uint64_t;

__device__ inline Operand operand_at(unsigned address, unsigned panel_bytes) {
    constexpr Operand kSwapped = Operand{1} << 62;
    constexpr Operand kEightRows = Operand{kPanelAlignment / 16} << 32;
    return kSwapped | kEightRows | Operand{panel_bytes / 16} << 16 | (address & 0x3ffffu) / 16;
}

// The same operand from `bytes` further on, for bytes that swapping does not reach.
__device__ inline Operand further(Operand operand, unsigned bytes) {
    return operand + bytes / 16;
}

#if defined(__CUDACC__)

// Registers of a matrix of sums as operands of an instruction, 8 columns or 32 columns at a time.
#define LTX_SUMS_8(c, n) "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])
#define LTX_SUMS_32(c, n) LTX_SUMS_8(c, n), LTX_SUMS_8(c, n + 1), LTX_SUMS_8(c, n + 2), LTX_SUMS_8(c, n + 3)
#define LTX_NAMES_32                                                         \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define LTX_NAMES_64                                                                     \
    LTX_NAMES_32                                                                         \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

// Sums of a warpgroup's 64 rows: warp w holds rows 16 w and on as in tensor_core.cuh, c[n] eight columns from 8 n on.

// c = A B, or c += A B with `add`. A has 64 rows of 16 elements, B 16 rows of 128; a row of a panel is one of A, or a
// column of B.
__device__ inline void start_product(float (&c)[16][4], Operand a, Operand b, bool add) {
#if LTX_HAS_WARPGROUPS
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" LTX_NAMES_64 "}, %64, %65, add, 1, 1, 0, 0;\n}"
        : LTX_SUMS_32(c, 0), LTX_SUMS_32(c, 4), LTX_SUMS_32(c, 8), LTX_SUMS_32(c, 12)
        : "l"(a), "l"(b), "r"(static_cast<int>(add)));
#else
    __trap();
#endif
}

// c += A B. A has 16 rows and 16 columns of each warp as in tensor_core.cuh, B 16 rows of 128 or 64; a row of a panel
// is one of B.
__device__ inline void start_product(float (&c)[16][4], const unsigned (&a)[4], Operand b) {
#if LTX_HAS_WARPGROUPS
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" LTX_NAMES_64
                 "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
                 : LTX_SUMS_32(c, 0), LTX_SUMS_32(c, 4), LTX_SUMS_32(c, 8), LTX_SUMS_32(c, 12)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
#else
    __trap();
#endif
}

__device__ inline void start_product(float (&c)[8][4], const unsigned (&a)[4], Operand b) {
#if LTX_HAS_WARPGROUPS
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" LTX_NAMES_32
                 "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
                 : LTX_SUMS_32(c, 0), LTX_SUMS_32(c, 4)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
#else
    __trap();
#endif
}

// Keeps the compiler from moving accesses to sums across this point: it does not know that they change later.
template <int kTiles>
__device__ void settle(float (&c)[kTiles][4]) {
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
        asm volatile("" : LTX_SUMS_8(c, n)::"memory");
    }
}

#undef LTX_SUMS_8
#undef LTX_SUMS_32
#undef LTX_NAMES_32
#undef LTX_NAMES_64

// Lets products that start from here on see what threads did to the registers that they use.
__device__ inline void order_registers() {
#if LTX_HAS_WARPGROUPS
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
    __trap();
#endif
}

// Ends a group of products.
__device__ inline void commit_products() {
#if LTX_HAS_WARPGROUPS
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
    __trap();
#endif
}

// Waits until at most kOpen groups of products are under way. Until then neither registers nor shared memory of a group
// may be touched.
template <int kOpen>
__device__ void wait_for_products() {
#if LTX_HAS_WARPGROUPS
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kOpen) : "memory");
#else
    __trap();
#endif
}

// Lets matrix instructions see what this thread wrote or copied into shared memory.
__device__ inline void show_to_products() {
#if LTX_HAS_WARPGROUPS
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#else
    __trap();
#endif
}

#else

inline void start_product(float (&c)[16][4], Operand a, Operand b, bool add) {
    emulated::start_product(c[0], 128, a, b, add);
}

template <int kTiles>
void start_product(float (&c)[kTiles][4], const unsigned (&a)[4], Operand b) {
    emulated::start_product(c[0], kTiles * 8, a, b);
}

template <int kTiles>
void settle(float (&)[kTiles][4]) {}

inline void order_registers() {
    emulated::order_registers();
}

inline void commit_products() {
    emulated::close_products();
}

template <int kOpen>
void wait_for_products() {
    emulated::wait_products(kOpen);
}

inline void show_to_products() {
    emulated::show_to_products();
}

#endif

// Dynamic shared memory from the first place on where a panel may start; launches ask for kPanelAlignment bytes more.
__device__ inline unsigned char * shared_panels() {
    unsigned char * start = dynamic_shared();
    return start + (kPanelAlignment - shared_address(start) % kPanelAlignment) % kPanelAlignment;
}

}  // namespace ltx::cuda
