// Built for AVX2, see csrc/CMakeLists.txt; called only where the CPU has it.
#include "kernels/int8/int8_kernels.h"
#include "kernels/int8/pairs.h"

#if defined(__x86_64__)

#include <immintrin.h>

namespace ltx {

namespace {

// Six rows of two registers of sums, two of columns and one of a row: thirteen of sixteen.
constexpr int kRowsAtOnce = 6;

inline __m256i load(const void * from) {
    return _mm256_loadu_si256(static_cast<const __m256i *>(from));
}

inline void store(void * to, __m256i values) {
    _mm256_storeu_si256(static_cast<__m256i *>(to), values);
}

// kRows rows times one panel.
template <int kRows>
void multiply_rows(const Int8Block & in, const int16_t * x, const int16_t * w, int32_t * sums) {
    __m256i sum[kRows][2];
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
        sum[r][0] = in.add ? load(sums + r * in.sums_stride) : _mm256_setzero_si256();
        sum[r][1] = in.add ? load(sums + r * in.sums_stride + 8) : _mm256_setzero_si256();
    }
    for (int64_t k = 0; k < in.depth; k += 2, w += 2 * kPairCols) {
        const __m256i w0 = load(w);
        const __m256i w1 = load(w + 16);
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) {
            int pair;
            __builtin_memcpy(&pair, x + r * in.depth + k, sizeof(pair));
            const __m256i pairs = _mm256_set1_epi32(pair);
            sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(pairs, w0));
            sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(pairs, w1));
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
        store(sums + r * in.sums_stride, sum[r][0]);
        store(sums + r * in.sums_stride + 8, sum[r][1]);
    }
}

// Rows that meet a panel before the next one: they stay in the first-level cache as far as it goes.
constexpr int64_t kRowsOfPass = 4 * kRowsAtOnce;

void multiply_pass(const Int8Block & in, const int16_t * wide, int64_t first, int64_t last) {
    const auto * packed = reinterpret_cast<const int16_t *>(in.packed);
    for (int64_t col = 0; col < in.cols; col += kPairCols) {
        const int16_t * w = packed + col * in.depth;
        for (int64_t row = first; row < last; row += kRowsAtOnce) {
            const int16_t * x = wide + row * in.depth;
            int32_t * sums = in.sums + row * in.sums_stride + col;
            switch (last - row) {
                case 1:
                    multiply_rows<1>(in, x, w, sums);
                    break;
                case 2:
                    multiply_rows<2>(in, x, w, sums);
                    break;
                case 3:
                    multiply_rows<3>(in, x, w, sums);
                    break;
                case 4:
                    multiply_rows<4>(in, x, w, sums);
                    break;
                case 5:
                    multiply_rows<5>(in, x, w, sums);
                    break;
                default:
                    multiply_rows<kRowsAtOnce>(in, x, w, sums);
                    break;
            }
        }
    }
}

void multiply(const Int8Block & in) {
    const int16_t * wide = widen_rows(in);
    for (int64_t row = 0; row < in.rows; row += kRowsOfPass) {
        multiply_pass(in, wide, row, row + kRowsOfPass < in.rows ? row + kRowsOfPass : in.rows);
    }
}

}  // namespace

const Int8Kernel kInt8Avx2{"avx2", 2, kInt8Rows, kInt8Panel, &pack_pairs, &multiply, nullptr, nullptr};

}  // namespace ltx

#endif
