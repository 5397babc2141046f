// Row arithmetic that the compiler vectorises inside LTX_TARGET_CLONES functions.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/simd.h"

namespace ltx {

// e^x, relative error at most 1e-7. |x| counts as 88 at most; results under the smallest normal number are 0; NaN stays
// NaN. 2^n e^r with r = x - n ln 2 in two parts (Cody and Waite) and a degree 6 polynomial in r fitted on
// |r| <= ln(2) / 2, whose own error is 3.7e-9.
//
// |x| is bounded on its bits: gcc turns a bound written with float comparisons into branches, and then nothing around
// it is vectorised.
LTX_ALWAYS_INLINE float vector_exp(float x) {
    constexpr float kLog2E = 1.442695041f;
    constexpr float kLn2High = 0.693359375f;  // few bits, so that n times it is exact
    constexpr float kLn2Low = -2.12194440e-4f;
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    constexpr int32_t kMaximum = std::bit_cast<int32_t>(88.0f);
    constexpr int32_t kInfinity = 0x7f800000;
    const int32_t bits = std::bit_cast<int32_t>(x);
    const int32_t magnitude = bits & 0x7fffffff;
    const int32_t all_ones_if_nan = (kInfinity - magnitude) >> 31;
    const int32_t sign = bits ^ magnitude;
    x = std::bit_cast<float>(std::min(magnitude, kMaximum) | sign | all_ones_if_nan);
    const float shifted = x * kLog2E + kRound;
    const float n = shifted - kRound;
    const float r = (x - n * kLn2High) - n * kLn2Low;
    float tail = 1.38145837e-3f;
    tail = tail * r + 8.36872403e-3f;
    tail = tail * r + 4.16683890e-2f;
    tail = tail * r + 1.66665211e-1f;
    tail = tail * r + 4.99999940e-1f;
    const float power = 1.0f + (r + r * r * tail);
    const uint32_t exponent = (std::bit_cast<uint32_t>(shifted) << 23) + 0x3f800000u;
    return power * std::bit_cast<float>(exponent);
}

// sin(x)^2, absolute error at most 1e-7 for |x| up to 1e9. The argument is reduced modulo pi in double precision,
// because the exponent of a trained frequency can make it large; a degree 9 polynomial, fitted for least relative error
// on |r| <= pi / 2 (6e-9), does the rest. NaN for what is not finite.
LTX_ALWAYS_INLINE float vector_sin_squared(float x) {
    constexpr double kPi = 3.14159265358979323846;
    constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52, as in vector_exp
    const double wide = static_cast<double>(x);
    const double turns = (wide * (1.0 / kPi) + kRound) - kRound;
    const float r = static_cast<float>(wide - turns * kPi);
    const float square = r * r;
    float tail = 2.60577789e-6f;
    tail = tail * square - 1.98096015e-4f;
    tail = tail * square + 8.33306622e-3f;
    tail = tail * square - 1.66666595e-1f;
    const float sine = r + r * square * tail;
    return sine * sine;
}

// Mean of (x - offset)^2. Lanes run over blocks short enough for float32; blocks add up in double.
LTX_ALWAYS_INLINE float mean_square(const float * x, int64_t count, float offset) {
    constexpr int64_t kBlock = 1024;
    double total = 0;
    for (int64_t start = 0; start < count; start += kBlock) {
        const int64_t end = std::min(count, start + kBlock);
        float lanes[kLanes] = {};
        int64_t i = start;
        for (; i + kLanes <= end; i += kLanes) {
            for (int64_t lane = 0; lane < kLanes; ++lane) {
                const float d = x[i + lane] - offset;
                lanes[lane] += d * d;
            }
        }
        for (; i < end; ++i) {
            const float d = x[i] - offset;
            lanes[0] += d * d;
        }
        total += static_cast<double>(sum_lanes(lanes));
    }
    return static_cast<float>(total / static_cast<double>(count));
}

// Mean of x, summed like mean_square.
LTX_ALWAYS_INLINE float mean(const float * x, int64_t count) {
    constexpr int64_t kBlock = 1024;
    double total = 0;
    for (int64_t start = 0; start < count; start += kBlock) {
        const int64_t end = std::min(count, start + kBlock);
        float lanes[kLanes] = {};
        int64_t i = start;
        for (; i + kLanes <= end; i += kLanes) {
            for (int64_t lane = 0; lane < kLanes; ++lane) {
                lanes[lane] += x[i + lane];
            }
        }
        for (; i < end; ++i) {
            lanes[0] += x[i];
        }
        total += static_cast<double>(sum_lanes(lanes));
    }
    return static_cast<float>(total / static_cast<double>(count));
}

// 1 / sqrt(mean(x^2) + eps)
LTX_ALWAYS_INLINE float inverse_rms(const float * x, int64_t count, float eps) {
    return 1.0f / std::sqrt(mean_square(x, count, 0.0f) + eps);
}

}  // namespace ltx
