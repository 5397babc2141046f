// Matrix instructions of one warp over 8-bit integers with 32-bit sums, and where their operands lie in shared memory.
// What kernels/cuda/tensor_core.cuh says of code for older devices holds here too.
#pragma once

#include "kernels/cuda/tensor_core.cuh"

namespace ltx::cuda {

// Bytes of a row of a tile.
inline constexpr int kInt8TileWidth = 64;

// The byte at which chunk `chunk` of row `row` of a tile begins. Two rows share 128 bytes, that is all banks, and pairs
// of rows are skewed, so that eight rows' chunks of one column lie in different banks.
//
// From a place on, eight rows further is 8 kInt8TileWidth more, and the chunk after the next, from one of the first
// two, lies at the place ^ (2 kChunkBytes).
__device__ inline int int8_tile_at(int row, int chunk) {
    return row / 2 * 2 * kInt8TileWidth + (((row & 1) * 4 + (chunk ^ (row / 2 & 3))) * kChunkBytes);
}

#if defined(__CUDACC__)

// c += A B, A 16 x 32 by rows, B 32 x 8 by columns. Lane l holds c[i] at row l / 4 + i / 2 * 8, column 2 (l % 4) + i
// % 2; four bytes of an operand lie where two elements of BF16 do.
__device__ inline void multiply(int (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    __trap();
#endif
}

#else

inline void multiply(int (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const unsigned b[2] = {b0, b1};
    emulated::multiply(c, a, b);
}

#endif

}  // namespace ltx::cuda
