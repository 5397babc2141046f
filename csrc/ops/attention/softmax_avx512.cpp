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

// 2^x for x <= 0: a polynomial of degree 5 in the fraction, |f| <= 1/2, relative error 3e-7. NaN stays NaN, because a
// maximum gives its second operand where one of them is NaN.
inline __m512 exp2_of(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-200.0f), x);
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_sub_ps(x, whole);
    __m512 p = _mm512_set1_ps(1.33335581e-3f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.61812911e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.55041087e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.40226507e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93147181e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, whole);
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
    const __m512 factor = _mm512_set1_ps(scale * kLog2E);
    __m512 largest = _mm512_set1_ps(state.maximum);
    for (int64_t i = 0; i < count; i += 16) {
        largest =
            _mm512_max_ps(largest, load_logits(logits + i, factor, mask ? mask + i : nullptr, first_lanes(count - i)));
    }
    const float maximum = _mm512_reduce_max_ps(largest);
    const __m512 offset = _mm512_set1_ps(maximum);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < round_up(count, kGemmDepth); i += 16) {
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
