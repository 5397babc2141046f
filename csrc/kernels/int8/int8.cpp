#include "kernels/int8/int8.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/cpuid.h"
#include "kernels/cpu_features.h"
#include "kernels/gemm/scratch.h"
#include "kernels/int8/int8_kernels.h"
#include "kernels/int8/pairs.h"
#include "kernels/simd.h"

namespace ltx {

namespace {

void multiply_plain(const Int8Block & in) {
    const int16_t * wide = widen_rows(in);
    const auto * packed = reinterpret_cast<const int16_t *>(in.packed);
    for (int64_t row = 0; row < in.rows; ++row) {
        const int16_t * x = wide + row * in.depth;
        for (int64_t first = 0; first < in.cols; first += kPairCols) {
            const int16_t * w = packed + first * in.depth;
            int32_t * sums = in.sums + row * in.sums_stride + first;
            if (!in.add) {
                std::fill_n(sums, kPairCols, 0);
            }
            for (int64_t k = 0; k < in.depth; k += 2, w += 2 * kPairCols) {
                for (int64_t c = 0; c < kPairCols; ++c) {
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

using RoundRow = void (*)(const float * values, float scale, int8_t * integers, int64_t count);

RoundRow row_rounder() {
#if defined(LTX_INT8_KERNELS)
    static const RoundRow best = has_avx512_vnni() ? &round_int8_row_avx512 : &round_row;
    return best;
#else
    return &round_row;
#endif
}

constexpr Int8Kernel kInt8Plain{"plain", 2, kInt8Rows, kInt8Panel, &pack_pairs, &multiply_plain, nullptr, nullptr};

struct Kernels {
    std::array<const Int8Kernel *, 5> found{};
    size_t count = 0;
    std::array<bool, 5> right{};
};

// Sums of some rows, odd numbers of rows and of columns among them.
std::vector<int32_t> sums_of_trial(const Int8Kernel & kernel) {
    constexpr int64_t kRows = 45;
    constexpr int64_t kCols = 81;
    constexpr int64_t kDepth = 192;
    constexpr int64_t kStride = 256;
    constexpr int64_t kWidth = round_up(kCols, kInt8Cols);
    std::vector<int8_t> x(kRows * kStride), weights(kCols * kStride);
    uint32_t state = 1;
    for (std::vector<int8_t> * numbers : {&x, &weights}) {
        for (int8_t & number : *numbers) {
            state = state * 1664525u + 1013904223u;
            number = static_cast<int8_t>(std::max(-127, static_cast<int>(state >> 24) - 128));
        }
    }
    AlignedMemory packed, sums, scratch;
    const Int8Block block{.x = x.data(),
                          .row_stride = kStride,
                          .rows = kRows,
                          .packed = packed.get<std::byte>(kWidth * kDepth * kInt8PackedBytes),
                          .cols = kCols,
                          .depth = kDepth,
                          .sums = sums.get<int32_t>(round_up(kRows, kInt8RowStep) * kWidth),
                          .sums_stride = kWidth,
                          .add = false,
                          .scratch = scratch.get<std::byte>(kInt8ScratchBytes)};
    const Int8Scope scope(kernel);
    kernel.pack(weights.data(), kStride, kCols, kDepth, packed.get<std::byte>(0));
    kernel.multiply(block);
    Int8Block again = block;
    again.add = true;
    kernel.multiply(again);
    std::vector<int32_t> result;
    for (int64_t row = 0; row < kRows; ++row) {
        const int32_t * first = block.sums + row * kWidth;
        result.insert(result.end(), first, first + kCols);
    }
    return result;
}

Kernels find_kernels() {
    Kernels kernels;
    const auto add = [&](bool runs, const Int8Kernel & kernel) {
        if (runs) {
            kernels.found[kernels.count++] = &kernel;
        }
    };
#if defined(LTX_INT8_KERNELS)
    add(may_use_amx_int8(), kInt8Amx);
    add(has_avx512_vnni(), kInt8Avx512Vnni);
    add(has_avx_vnni(), kInt8AvxVnni);
#endif
#if defined(__x86_64__)
    add(x86_features().avx2, kInt8Avx2);
#endif
#if defined(LTX_INT8_DOTPROD)
    add(has_neon_dotprod(), kInt8Dotprod);
#endif
    add(true, kInt8Plain);
    const std::vector<int32_t> want = sums_of_trial(kInt8Plain);
    for (size_t i = 0; i < kernels.count; ++i) {
        kernels.right[i] = sums_of_trial(*kernels.found[i]) == want;
    }
    return kernels;
}

const Kernels & kernels() {
    static const Kernels found = find_kernels();
    return found;
}

}  // namespace

std::span<const Int8Kernel * const> int8_kernels() {
    return {kernels().found.data(), kernels().count};
}

const Int8Kernel & int8_kernel(int64_t depth) {
    // Some of these were written where no such CPU was to be had. Their sums are whole numbers, so that one look tells.
    for (size_t i = 0; i < kernels().count; ++i) {
        if (kernels().right[i] && depth % kernels().found[i]->step == 0) {
            return *kernels().found[i];
        }
    }
    return kInt8Plain;
}

float round_to_int8(const float * values, int64_t count, int8_t * integers) {
    const float largest = largest_of(values, count);
    const float scale = largest / kLargest;
    if (std::isfinite(largest) && scale > 0.0f) {
        row_rounder()(values, scale, integers, count);
        return scale;
    }
    std::fill_n(integers, count, int8_t{0});
    return std::isfinite(largest) ? 0.0f : std::numeric_limits<float>::quiet_NaN();
}

}  // namespace ltx
