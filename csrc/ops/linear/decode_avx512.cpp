// Built for AVX-512 with BF16, see csrc/CMakeLists.txt; called only where the CPU has them.
//
// Layouts of the blocks: ggml's formats as GGUF files hold them. Scales are F16; q4_K and q5_K have eight groups of 32
// values with six-bit scales and minima, q6_K sixteen groups of 16 with eight-bit scales.
#include "ops/linear/decode.h"

#if defined(LTX_GEMM_KERNELS)

#include <immintrin.h>

namespace ltx {

namespace {

inline float half_at(const uint8_t * bytes) {
    uint16_t bits;
    __builtin_memcpy(&bits, bytes, sizeof(bits));
    return _cvtsh_ss(bits);
}

inline __m256i load_bytes(const uint8_t * bytes) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(bytes));
}

// 32 bytes as floats, the low half scaled by one factor and the high half by another, as BF16.
inline void store_scaled(__m256i values, __m512 low_factor, __m512 high_factor, Bf16 * out) {
    const __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(values)));
    const __m512 high = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(values, 1)));
    const __m512bh rounded = _mm512_cvtne2ps_pbh(_mm512_mul_ps(high, high_factor), _mm512_mul_ps(low, low_factor));
    _mm512_storeu_si512(out, reinterpret_cast<const __m512i &>(rounded));
}

// Scale and minimum of group `index` of q4_K and q5_K.
inline void group_scale(const uint8_t * scales, int index, float d, float dmin, __m512 & scale, __m512 & minimum) {
    int s = 0;
    int m = 0;
    if (index < 4) {
        s = scales[index] & 63;
        m = scales[index + 4] & 63;
    } else {
        s = (scales[index + 4] & 15) | (scales[index - 4] >> 6 << 4);
        m = (scales[index + 4] >> 4) | (scales[index] >> 6 << 4);
    }
    scale = _mm512_set1_ps(d * static_cast<float>(s));
    minimum = _mm512_set1_ps(dmin * static_cast<float>(m));
}

// A group of four bits has 16 values: they are computed once and looked up.
inline void store_looked_up(__m256i indices, __m512 scale, __m512 minimum, Bf16 * out) {
    const __m512 steps = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_fmsub_ps(steps, scale, minimum));
    const __m512i table = _mm512_castsi256_si512(reinterpret_cast<const __m256i &>(rounded));
    _mm512_storeu_si512(out, _mm512_permutexvar_epi16(_mm512_cvtepu8_epi16(indices), table));
}

// The same for up to 32 values.
inline void store_looked_up_5(__m256i indices, __m512 scale, __m512 minimum, Bf16 * out) {
    const __m512 steps = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512 upper = _mm512_add_ps(steps, _mm512_set1_ps(16.0f));
    const __m512bh table =
        _mm512_cvtne2ps_pbh(_mm512_fmsub_ps(upper, scale, minimum), _mm512_fmsub_ps(steps, scale, minimum));
    _mm512_storeu_si512(
        out, _mm512_permutexvar_epi16(_mm512_cvtepu8_epi16(indices), reinterpret_cast<const __m512i &>(table)));
}

}  // namespace

void decode_q8_0_avx512(const uint8_t * blocks, int64_t count, Bf16 * values) {
    for (int64_t i = 0; i < count; i += 32, blocks += 34) {
        const __m512 scale = _mm512_set1_ps(half_at(blocks));
        store_scaled(load_bytes(blocks + 2), scale, scale, values + i);
    }
}

void decode_q4_k_avx512(const uint8_t * blocks, int64_t count, Bf16 * values) {
    const __m256i nibble = _mm256_set1_epi8(15);
    for (int64_t i = 0; i < count; i += 256, blocks += 144) {
        const float d = half_at(blocks);
        const float dmin = half_at(blocks + 2);
        for (int pair = 0; pair < 4; ++pair) {
            const __m256i packed = load_bytes(blocks + 16 + 32 * pair);
            Bf16 * out = values + i + 64 * pair;
            __m512 scale, minimum;
            group_scale(blocks + 4, 2 * pair, d, dmin, scale, minimum);
            store_looked_up(_mm256_and_si256(packed, nibble), scale, minimum, out);
            group_scale(blocks + 4, 2 * pair + 1, d, dmin, scale, minimum);
            store_looked_up(_mm256_and_si256(_mm256_srli_epi16(packed, 4), nibble), scale, minimum, out + 32);
        }
    }
}

void decode_q5_k_avx512(const uint8_t * blocks, int64_t count, Bf16 * values) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i sixteen = _mm256_set1_epi8(16);
    for (int64_t i = 0; i < count; i += 256, blocks += 176) {
        const float d = half_at(blocks);
        const float dmin = half_at(blocks + 2);
        const __m256i fifth = load_bytes(blocks + 16);
        for (int pair = 0; pair < 4; ++pair) {
            const __m256i packed = load_bytes(blocks + 48 + 32 * pair);
            Bf16 * out = values + i + 64 * pair;
            const __mmask32 low_bit = _mm256_test_epi8_mask(fifth, _mm256_set1_epi8(static_cast<char>(1 << 2 * pair)));
            const __mmask32 high_bit = _mm256_test_epi8_mask(fifth, _mm256_set1_epi8(static_cast<char>(2 << 2 * pair)));
            const __m256i low = _mm256_and_si256(packed, nibble);
            const __m256i high = _mm256_and_si256(_mm256_srli_epi16(packed, 4), nibble);
            __m512 scale, minimum;
            group_scale(blocks + 4, 2 * pair, d, dmin, scale, minimum);
            store_looked_up_5(_mm256_mask_add_epi8(low, low_bit, low, sixteen), scale, minimum, out);
            group_scale(blocks + 4, 2 * pair + 1, d, dmin, scale, minimum);
            store_looked_up_5(_mm256_mask_add_epi8(high, high_bit, high, sixteen), scale, minimum, out + 32);
        }
    }
}

void decode_q6_k_avx512(const uint8_t * blocks, int64_t count, Bf16 * values) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i upper = _mm256_set1_epi8(0x30);
    const __m256i middle = _mm256_set1_epi8(32);
    for (int64_t i = 0; i < count; i += 256, blocks += 210) {
        const float d = half_at(blocks + 208);
        for (int half = 0; half < 2; ++half) {
            const __m256i first = load_bytes(blocks + 64 * half);
            const __m256i second = load_bytes(blocks + 64 * half + 32);
            const __m256i bits = load_bytes(blocks + 128 + 32 * half);
            const auto * scales = reinterpret_cast<const int8_t *>(blocks) + 192 + 8 * half;
            // Two bits of each byte of `bits` are the upper ones of four values 32 apart.
            const __m256i parts[4] = {
                _mm256_or_si256(_mm256_and_si256(first, nibble), _mm256_and_si256(_mm256_slli_epi16(bits, 4), upper)),
                _mm256_or_si256(_mm256_and_si256(second, nibble), _mm256_and_si256(_mm256_slli_epi16(bits, 2), upper)),
                _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(first, 4), nibble), _mm256_and_si256(bits, upper)),
                _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(second, 4), nibble),
                                _mm256_and_si256(_mm256_srli_epi16(bits, 2), upper)),
            };
            for (int part = 0; part < 4; ++part) {
                store_scaled(
                    _mm256_sub_epi8(parts[part], middle), _mm512_set1_ps(d * static_cast<float>(scales[2 * part])),
                    _mm512_set1_ps(d * static_cast<float>(scales[2 * part + 1])), values + i + 128 * half + 32 * part);
            }
        }
    }
}

}  // namespace ltx

#endif
