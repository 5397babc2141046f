// Both sides widened to 16 bits, whose products are added in pairs.
//
// This is included by a source for more than the baseline, so all in here has internal linkage.
#pragma once

#include "kernels/int8/int8.h"

namespace ltx {

namespace {

constexpr int64_t kPairCols = 16;

// For each kPairCols columns: pairs of depth for one column after the other. Columns past the last are zero.
inline void pack_pairs(const int8_t * weights, int64_t stride, int64_t cols, int64_t depth, std::byte * packed) {
    auto * out = reinterpret_cast<int16_t *>(packed);
    for (int64_t first = 0; first < cols; first += kPairCols) {
        const int64_t count = cols - first < kPairCols ? cols - first : kPairCols;
        for (int64_t c = 0; c < kPairCols; ++c) {
            const int8_t * column = weights + (first + c) * stride;
            int16_t * pairs = out + first * depth + 2 * c;
            for (int64_t k = 0; k < depth; k += 2, pairs += 2 * kPairCols) {
                pairs[0] = c < count ? column[k] : int16_t{0};
                pairs[1] = c < count ? column[k + 1] : int16_t{0};
            }
        }
    }
}

// The rows of a block, `depth` numbers apart.
inline const int16_t * widen_rows(const Int8Block & block) {
    auto * wide = reinterpret_cast<int16_t *>(block.scratch);
    for (int64_t row = 0; row < block.rows; ++row) {
        const int8_t * x = block.x + row * block.row_stride;
        for (int64_t k = 0; k < block.depth; ++k) {
            wide[row * block.depth + k] = x[k];
        }
    }
    return wide;
}

}  // namespace

}  // namespace ltx
