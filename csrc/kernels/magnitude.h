// The largest magnitude of a row on its bits. As integers, magnitudes are in the order of the values and NaN lies above
// infinity, so nothing is lost as by comparisons of floats, which are false for NaN.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/simd.h"

namespace ltx {

// Those of infinity.
inline constexpr int32_t kInfiniteBits = 0x7f800000;
inline constexpr uint16_t kInfiniteBf16 = 0x7f80;

LTX_ALWAYS_INLINE int32_t largest_magnitude(const float * x, int64_t count) {
    int32_t largest = 0;
    for (int64_t i = 0; i < count; ++i) {
        largest = std::max(largest, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
    }
    return largest;
}

// The same for BF16.
LTX_ALWAYS_INLINE uint16_t largest_magnitude(const uint16_t * x, int64_t count) {
    uint16_t largest = 0;
    for (int64_t i = 0; i < count; ++i) {
        largest = std::max(largest, static_cast<uint16_t>(x[i] & 0x7fff));
    }
    return largest;
}

}  // namespace ltx
