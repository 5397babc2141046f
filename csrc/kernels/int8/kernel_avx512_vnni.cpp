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

// Quotients by products with the reciprocal, which take half the time of divisions, unless one lies so close to the
// middle of two integers that the product's error might decide.
void round_int8_row_avx512(const float * values, float scale, int8_t * integers, int64_t count) {
    // An error is below 127 * 2^-22 where the reciprocal is a normal number.
    const float sure = scale > 1e-30f && scale < 1e30f ? 0.4999f : -1.0f;
    const __m512 divisor = _mm512_set1_ps(scale);
    const __m512 reciprocal = _mm512_set1_ps(1.0f / scale);
    for (int64_t i = 0; i < count; i += 16) {
        const auto lanes = static_cast<__mmask16>(count - i < 16 ? (1u << (count - i)) - 1u : 0xffffu);
        const __m512 x = _mm512_maskz_loadu_ps(lanes, values + i);
        const __m512 quotient = _mm512_mul_ps(x, reciprocal);
        __m512i nearest = _mm512_cvtps_epi32(quotient);
        const __m512 distance = _mm512_abs_ps(_mm512_sub_ps(quotient, _mm512_cvtepi32_ps(nearest)));
        // What is not a number is not sure either.
        if (_mm512_cmp_ps_mask(distance, _mm512_set1_ps(sure), _CMP_NLE_UQ) != 0) {
            // Where the scale was itself rounded, a quotient may pass 127.
            const __m512 largest = _mm512_set1_ps(127.0f);
            const __m512 exact = _mm512_min_ps(
                largest, _mm512_max_ps(_mm512_sub_ps(_mm512_setzero_ps(), largest), _mm512_div_ps(x, divisor)));
            nearest = _mm512_cvtps_epi32(exact);
        }
        _mm512_mask_cvtsepi32_storeu_epi8(integers + i, lanes, nearest);
    }
}

namespace {

// One factor of the rotation for fours of which each value comes from another vector. The sums of rotate_fours
// (kernels/rotation.cpp) in the same order, so the same bits; half of a sum is exact.
inline void rotate_vectors(__m512 & w, __m512 & x, __m512 & y, __m512 & z) {
    const __m512 sum = _mm512_add_ps(_mm512_add_ps(w, x), _mm512_add_ps(y, z));
    const __m512 half = _mm512_mul_ps(sum, _mm512_set1_ps(0.5f));
    const __m512 last = _mm512_sub_ps(half, w);
    w = _mm512_sub_ps(half, z);
    z = last;
    const __m512 third = _mm512_sub_ps(half, x);
    x = _mm512_sub_ps(half, y);
    y = third;
}

// The same for fours within each vector: neighbours, or quarters.
inline __m512 rotate_neighbours(__m512 v) {
    const __m512 pairs = _mm512_add_ps(v, _mm512_permute_ps(v, 0xb1));
    const __m512 sum = _mm512_add_ps(pairs, _mm512_permute_ps(pairs, 0x4e));
    return _mm512_sub_ps(_mm512_mul_ps(sum, _mm512_set1_ps(0.5f)), _mm512_permute_ps(v, 0x1b));
}

inline __m512 rotate_quarters(__m512 v) {
    const __m512 pairs = _mm512_add_ps(v, _mm512_shuffle_f32x4(v, v, 0xb1));
    const __m512 sum = _mm512_add_ps(pairs, _mm512_shuffle_f32x4(pairs, pairs, 0x4e));
    return _mm512_sub_ps(_mm512_mul_ps(sum, _mm512_set1_ps(0.5f)), _mm512_shuffle_f32x4(v, v, 0x1b));
}

}  // namespace

void rotate_group_avx512(float * values) {
    __m512 v[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
        v[i] = rotate_quarters(rotate_neighbours(_mm512_loadu_ps(values + 16 * i)));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        rotate_vectors(v[i], v[i + 1], v[i + 2], v[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        rotate_vectors(v[i], v[i + 4], v[i + 8], v[i + 12]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
        _mm512_storeu_ps(values + 16 * i, v[i]);
    }
}

}  // namespace ltx

#endif
