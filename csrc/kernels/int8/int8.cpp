#include "kernels/int8/int8.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/int8/int8_kernels.h"
#include "kernels/simd.h"

namespace ltx {

namespace {

void multiply_plain(const Int8Block & in) {
    for (int64_t row = 0; row < in.rows; ++row) {
        const int16_t * x = in.x + row * in.depth;
        for (int64_t first = 0; first < in.cols; first += kInt8Cols) {
            const int16_t * w = in.packed + first * in.depth;
            int32_t * sums = in.sums + row * in.sums_stride + first;
            if (!in.add) {
                std::fill_n(sums, kInt8Cols, 0);
            }
            for (int64_t k = 0; k < in.depth; k += 2, w += 2 * kInt8Cols) {
                for (int64_t c = 0; c < kInt8Cols; ++c) {
                    sums[c] += x[k] * w[2 * c] + x[k + 1] * w[2 * c + 1];
                }
            }
        }
    }
}

constexpr float kLargest = 127.0f;

// The largest size; not finite where one of the values is not.
LTX_TARGET_CLONES
float largest_of(const float * values, int64_t count) {
    uint32_t largest = 0;
    for (int64_t i = 0; i < count; ++i) {
        // Sizes of floats are ordered like their bits, and what is not finite is above all others.
        largest = std::max(largest, std::bit_cast<uint32_t>(values[i]) & 0x7fffffffu);
    }
    return std::bit_cast<float>(largest);
}

LTX_TARGET_CLONES
void round_row(const float * __restrict values, float scale, int8_t * __restrict integers, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        // The bounds matter where the scale is so small that it was itself rounded.
        const float rounded = std::min(kLargest, std::max(-kLargest, std::nearbyintf(values[i] / scale)));
        integers[i] = static_cast<int8_t>(static_cast<int32_t>(rounded));
    }
}

constexpr Int8Kernel kInt8Plain{"plain", &multiply_plain};

struct Kernels {
    std::array<const Int8Kernel *, 2> found{};
    size_t count = 0;
};

Kernels find_kernels() {
    Kernels kernels;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        kernels.found[kernels.count++] = &kInt8Avx2;
    }
#endif
    kernels.found[kernels.count++] = &kInt8Plain;
    return kernels;
}

}  // namespace

std::span<const Int8Kernel * const> int8_kernels() {
    static const Kernels kernels = find_kernels();
    return {kernels.found.data(), kernels.count};
}

float round_to_int8(const float * values, int64_t count, int8_t * integers) {
    const float largest = largest_of(values, count);
    const float scale = largest / kLargest;
    if (std::isfinite(largest) && scale > 0.0f) {
        round_row(values, scale, integers, count);
        return scale;
    }
    std::fill_n(integers, count, int8_t{0});
    return std::isfinite(largest) ? 0.0f : std::numeric_limits<float>::quiet_NaN();
}

void pack_int8(const int8_t * weights, int64_t stride, int64_t cols, int64_t depth, int16_t * packed) {
    for (int64_t first = 0; first < cols; first += kInt8Cols) {
        const int64_t count = std::min(kInt8Cols, cols - first);
        for (int64_t c = 0; c < kInt8Cols; ++c) {
            const int8_t * column = weights + (first + c) * stride;
            int16_t * pairs = packed + first * depth + 2 * c;
            for (int64_t k = 0; k < depth; k += 2, pairs += 2 * kInt8Cols) {
                pairs[0] = c < count ? column[k] : int16_t{0};
                pairs[1] = c < count ? column[k + 1] : int16_t{0};
            }
        }
    }
}

void widen_int8(const int8_t * x, int64_t stride, int64_t rows, int64_t depth, int16_t * wide) {
    for (int64_t row = 0; row < rows; ++row) {
        std::copy_n(x + row * stride, depth, wide + row * depth);
    }
}

}  // namespace ltx
