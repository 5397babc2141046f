// Whether values are numbers.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

namespace ltx {

// Without an early end, so that it takes a small part of the time of what follows.
inline bool are_finite(std::span<const float> values) {
    constexpr uint32_t kExponent = 0x7f800000;
    bool found = false;
    for (const float value : values) {
        found |= (std::bit_cast<uint32_t>(value) & kExponent) == kExponent;
    }
    return !found;
}

}  // namespace ltx
