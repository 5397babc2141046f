// Built for AVX-512 with BF16, see csrc/CMakeLists.txt; called only where the CPU has them.
#include "ops/attention/softmax.h"

#if defined(LTX_GEMM_KERNELS)

#include <immintrin.h>

namespace ltx {

namespace {

constexpr float kLog2E = 1.442695041f;

inline __mmask16 first_lanes(int64_t count) {
    return count >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << count) - 1u);
}

// 2^x for x <= 0: a polynomial of degree 4 in what is above the next whole number below, relative error 2.6e-6, of
// weights that are rounded to BF16 after. NaN stays NaN, because a maximum gives its second operand where one of them
// is NaN.
inline __m512 exp2_of(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-200.0f), x);
    const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 p = _mm512_set1_ps(0.0135341679f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.0520114628f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.241442754f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693003836f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.00000259f));
    return _mm512_scalef_ps(p, x);  // by 2 to the whole number below
}

// 16 logits in units of ln 2; those past the last are minus infinity.
inline __m512 load_logits(const float * logits, __m512 factor, const uint16_t * mask, __mmask16 lanes) {
    const __m512 nothing = _mm512_set1_ps(-__builtin_inff());
    __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes, logits), factor);
    if (mask) {
        const __m512 bias = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes, mask));
        x = _mm512_fmadd_ps(bias, _mm512_set1_ps(kLog2E), x);
    }
    return _mm512_mask_mov_ps(nothing, lanes, x);
}

}  // namespace

float softmax_block_avx512(const float * logits, int64_t count, float scale, const uint16_t * mask, Bf16 * weights,
                           RunningSoftmax & state) {
    // Most logits are without a mask and come in whole pairs of vectors; the others are as good as masked.
    const int64_t pairs_end = mask ? 0 : count / 32 * 32;
    const __m512 factor = _mm512_set1_ps(scale * kLog2E);
    __m512 largest = _mm512_set1_ps(state.maximum);
    __m512 largest_of_second = largest;
    for (int64_t i = 0; i < pairs_end; i += 32) {
        largest = _mm512_max_ps(largest, _mm512_mul_ps(_mm512_loadu_ps(logits + i), factor));
        largest_of_second = _mm512_max_ps(largest_of_second, _mm512_mul_ps(_mm512_loadu_ps(logits + i + 16), factor));
    }
    largest = _mm512_max_ps(largest, largest_of_second);
    for (int64_t i = pairs_end; i < count; i += 16) {
        largest =
            _mm512_max_ps(largest, load_logits(logits + i, factor, mask ? mask + i : nullptr, first_lanes(count - i)));
    }
    const float maximum = _mm512_reduce_max_ps(largest);
    const __m512 offset = _mm512_set1_ps(maximum);
    __m512 sum = _mm512_setzero_ps();
    __m512 sum_of_second = sum;
    for (int64_t i = 0; i < pairs_end; i += 32) {
        const __m512 first = exp2_of(_mm512_fmsub_ps(_mm512_loadu_ps(logits + i), factor, offset));
        const __m512 second = exp2_of(_mm512_fmsub_ps(_mm512_loadu_ps(logits + i + 16), factor, offset));
        sum = _mm512_add_ps(sum, first);
        sum_of_second = _mm512_add_ps(sum_of_second, second);
        const __m512bh rounded = _mm512_cvtne2ps_pbh(second, first);
        _mm512_storeu_si512(weights + i, reinterpret_cast<const __m512i &>(rounded));
    }
    sum = _mm512_add_ps(sum, sum_of_second);
    for (int64_t i = pairs_end; i < round_up(count, kGemmDepth); i += 16) {
        const __mmask16 lanes = i < count ? first_lanes(count - i) : 0;
        const __m512 x = load_logits(logits + i, factor, mask ? mask + i : nullptr, lanes);
        const __m512 weight = _mm512_maskz_mov_ps(lanes, exp2_of(_mm512_sub_ps(x, offset)));
        sum = _mm512_add_ps(sum, weight);
        const __m256bh rounded = _mm512_cvtneps_pbh(weight);
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(weights + i), reinterpret_cast<const __m256i &>(rounded));
    }
    const float correction = __builtin_exp2f(state.maximum - maximum);
    state.sum = state.sum * correction + _mm512_reduce_add_ps(sum);
    state.maximum = maximum;
    return correction;
}

void scale_row_avx512(float * row, int64_t count, float factor) {
    const __m512 wide = _mm512_set1_ps(factor);
    for (int64_t i = 0; i < count; i += 16) {
        _mm512_storeu_ps(row + i, _mm512_mul_ps(_mm512_loadu_ps(row + i), wide));
    }
}

void scaled_to_bf16_avx512(const float * row, int64_t count, float factor, Bf16 * out) {
    const __m512 wide = _mm512_set1_ps(factor);
    for (int64_t i = 0; i < count; i += 16) {
        const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_mul_ps(_mm512_loadu_ps(row + i), wide));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + i), reinterpret_cast<const __m256i &>(rounded));
    }
}

}  // namespace ltx

#endif
