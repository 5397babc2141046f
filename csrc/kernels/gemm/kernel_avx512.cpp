// Built for AVX-512 with BF16, see csrc/CMakeLists.txt; called only where the CPU has them.
#include "kernels/gemm/gemm_kernels.h"

#if defined(LTX_GEMM_KERNELS)

#include <immintrin.h>

#include "kernels/transpose_avx512.h"

namespace ltx {

namespace {

alignas(64) const Bf16 kZeros[kGemmDepth] = {};

inline __m512bh as_pairs(__m512i bits) {
    return reinterpret_cast<__m512bh>(bits);
}

// kRows rows times one panel.
template <int kRows>
inline void multiply_rows(const PanelProduct & in, int64_t row) {
    const int64_t stride = in.row_stride;
    const Bf16 * packed = in.packed;
    float * sums = in.sums + row * in.sums_stride;
    __m512 sum[kRows][2];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
        sum[r][0] = in.add ? _mm512_load_ps(sums + r * in.sums_stride) : _mm512_setzero_ps();
        sum[r][1] = in.add ? _mm512_load_ps(sums + r * in.sums_stride + 16) : _mm512_setzero_ps();
    }
    for (int64_t s = 0; s < in.count; ++s) {
        const Bf16 * x = in.segments[s].x + in.shift + row * stride;
        for (const Bf16 * end = x + in.segments[s].depth; x < end; x += kGemmDepth, packed += 2 * kTileElements) {
            for (int64_t pair = 0; pair < kGemmDepth / 2; ++pair) {
                const __m512i w0 = _mm512_load_si512(packed + 32 * pair);
                const __m512i w1 = _mm512_load_si512(packed + kTileElements + 32 * pair);
#pragma GCC unroll 16
                for (int r = 0; r < kRows; ++r) {
                    int value;
                    __builtin_memcpy(&value, x + r * stride + 2 * pair, sizeof(value));
                    const __m512bh pairs = as_pairs(_mm512_set1_epi32(value));
                    sum[r][0] = _mm512_dpbf16_ps(sum[r][0], pairs, as_pairs(w0));
                    sum[r][1] = _mm512_dpbf16_ps(sum[r][1], pairs, as_pairs(w1));
                }
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
        _mm512_store_ps(sums + r * in.sums_stride, sum[r][0]);
        _mm512_store_ps(sums + r * in.sums_stride + 16, sum[r][1]);
    }
}

void multiply_panel(const PanelProduct & in) {
    int64_t row = 0;
    for (; row + 8 <= in.rows; row += 8) {
        multiply_rows<8>(in, row);
    }
    for (; row + 4 <= in.rows; row += 4) {
        multiply_rows<4>(in, row);
    }
    for (; row < in.rows; ++row) {
        multiply_rows<1>(in, row);
    }
}

void multiply(const GemmBlock & block) {
    if (block.cols <= kGemmCols) {
        multiply_in_one(block, &multiply_panel);
        return;
    }
    multiply_in_groups(block, &multiply_panel, [&](GemmSegment *, int64_t) { return block.row_stride; });
}

void nothing() {}

}  // namespace

void pack_columns_avx512(const Bf16 * weights, int64_t stride, int64_t cols, int64_t depth, const PackedPlace & place) {
    const int64_t half_panels = round_up(cols, kGemmCols) / 16;
    for (int64_t half = 0; half < half_panels; ++half) {
        const Bf16 * columns[16];
        int64_t steps[16];
        for (int64_t c = 0; c < 16; ++c) {
            const bool inside = half * 16 + c < cols;
            columns[c] = inside ? weights + (half * 16 + c) * stride : kZeros;
            steps[c] = inside ? kGemmDepth : 0;
        }
        Bf16 * out =
            place.packed + half / 2 * kGemmCols * place.depth + place.first * kGemmCols + half % 2 * kTileElements;
        for (int64_t k = 0; k < depth; k += kGemmDepth, out += 2 * kTileElements) {
            transpose_tile(columns, out);
            for (int64_t c = 0; c < 16; ++c) {
                columns[c] += steps[c];
            }
        }
    }
}

void pack_rows_avx512(const Bf16 * weights, int64_t stride, int64_t cols, int64_t depth, const PackedPlace & place) {
    for (int64_t col = 0; col < round_up(cols, kGemmCols); col += 16) {
        const int64_t count = cols - col < 16 ? (cols - col > 0 ? cols - col : 0) : 16;
        const auto present = static_cast<__mmask16>((1u << count) - 1u);
        Bf16 * out = place.packed + col / kGemmCols * kGemmCols * place.depth + place.first * kGemmCols +
                     col % kGemmCols / 16 * kTileElements;
        for (int64_t k = 0; k < depth; k += kGemmDepth, out += 2 * kTileElements) {
            for (int64_t pair = 0; pair < kGemmDepth / 2; ++pair) {
                const int64_t row = k + 2 * pair;
                const Bf16 * from = weights + row * stride + col;
                const __mmask16 low = row < depth ? present : 0;
                const __mmask16 high = row + 1 < depth ? present : 0;
                const __m512i first = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(low, from));
                const __m512i second = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(high, from + stride));
                _mm512_store_si512(out + 32 * pair, _mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
            }
        }
    }
}

const GemmKernel kGemmAvx512{"avx512_bf16", kGemmPanel, false,   &pack_columns_avx512, &pack_rows_avx512, &multiply,
                             nullptr,       &nothing,   &nothing};

}  // namespace ltx

#endif
