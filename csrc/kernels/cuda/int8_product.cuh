// Matrix instructions of one warp over 8-bit integers with 32-bit sums, and how their operands come into shared memory.
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

// Copies a tile of kRows rows by kThreads threads, a tile's width of the depth after the other. Rows past the last are
// copies of that one.
template <int kRows, int kThreads>
struct Int8TileCopy {
    static constexpr int kChunks = kInt8TileWidth / kChunkBytes;
    static constexpr int kPass = kThreads / kChunks;  // rows copied at a time
    static constexpr int kPasses = kRows / kPass;
    static_assert(kPass % 8 == 0);  // all of a thread's rows are skewed alike
    const int8_t * from[kPasses];
    int place;

    // `first` is one of the `rows` rows that there are, `stride` bytes apart.
    __device__ Int8TileCopy(const int8_t * data, int64_t stride, int64_t first, int64_t rows) {
        const int row = static_cast<int>(threadIdx.x) / kChunks;
        const int chunk = static_cast<int>(threadIdx.x) % kChunks;
        place = int8_tile_at(row, chunk);
#pragma unroll
        for (int i = 0; i < kPasses; ++i) {
            const int64_t wanted = first + row + i * kPass;
            from[i] = data + (wanted < rows ? wanted : rows - 1) * stride + chunk * kChunkBytes;
        }
    }

    __device__ void next(unsigned char * tile) {
#pragma unroll
        for (int i = 0; i < kPasses; ++i) {
            copy_chunk(tile + place + i * kPass * kInt8TileWidth, from[i]);
            from[i] += kInt8TileWidth;
        }
    }
};

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
