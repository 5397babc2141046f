// Built for AVX-512 with VNNI, see csrc/CMakeLists.txt; called only where the CPU has them.
#include "kernels/int8/int8_kernels.h"
#include "kernels/int8/quads.h"

#if defined(LTX_INT8_KERNELS)

#include <immintrin.h>

#include "kernels/transpose_avx512.h"

namespace ltx {

namespace {

struct Vectors {
    static constexpr uint32_t kFlip = kNoSign;
    using Lanes = __m512i;
    static Lanes load(const void * from) { return _mm512_load_si512(from); }
    static void store(void * to, Lanes lanes) { _mm512_store_si512(to, lanes); }
    static Lanes all(uint32_t value) { return _mm512_set1_epi32(static_cast<int>(value)); }
    static Lanes minus(Lanes a, Lanes b) { return _mm512_sub_epi32(a, b); }
    static Lanes add_products(Lanes sum, Lanes columns, Lanes numbers) {
        return _mm512_dpbusd_epi32(sum, columns, numbers);
    }
};

alignas(64) const int8_t kZeros[kTileDepth] = {};

template <uint32_t kFlip>
void pack(const int8_t * weights, int64_t stride, int64_t cols, int64_t depth, std::byte * packed) {
    for (int64_t col = 0; col < (cols + kInt8Cols - 1) / kInt8Cols * kInt8Cols; col += kTileCols) {
        const void * columns[kTileCols];
        std::byte * out = tile_of(packed, col, depth);
        for (int64_t k = 0; k < depth; k += kTileDepth, out += kTilesOfPanel * kTileBytes) {
            for (int64_t c = 0; c < kTileCols; ++c) {
                columns[c] = col + c < cols ? weights + (col + c) * stride + k : kZeros;
            }
            transpose_tile<kFlip>(columns, out);
        }
    }
}

}  // namespace

// 8 rows of two sums, two of columns and one of a row: nineteen of 32 registers, and rows come in sixes of eight.
const Int8Kernel kInt8Avx512Vnni{"avx512_vnni",
                                 kTileDepth,
                                 kInt8Rows,
                                 kInt8Panel,
                                 &pack<Vectors::kFlip>,
                                 &multiply_on_vectors<Vectors, 8, kTilesOfPanel>,
                                 nullptr,
                                 nullptr};

void pack_int8_avx512(const int8_t * weights, int64_t stride, int64_t cols, int64_t depth, std::byte * packed) {
    pack<0>(weights, stride, cols, depth, packed);
}

}  // namespace ltx

#endif
