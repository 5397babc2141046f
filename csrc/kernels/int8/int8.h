// Products of 8-bit integers with exact 32-bit sums: the core of linear layers whose weights are held in rotated rows.
//
// sums(rows, cols) = X(rows, depth) W(cols, depth)^T. Both sides are widened to 16 bits, whose products are added in
// pairs: columns once into panels that stay in the second-level cache and meet many rows, rows a block at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace ltx {

inline constexpr int64_t kInt8Cols = 16;        // columns come in panels of this many
inline constexpr int64_t kInt8Rows = 24;        // most rows of one multiply
inline constexpr int64_t kInt8MaxDepth = 1024;  // most depth of one multiply, a multiple of 2

// Rounds values to integers of -127 to 127 and returns the scale that makes values of them; NaN, and zeros, where a
// value is not finite.
float round_to_int8(const float * values, int64_t count, int8_t * integers);

// Panels of kInt8Cols columns, in each pairs of depth for one column after the other; columns past the last are zero.
// `weights`: `cols` columns `stride` bytes apart. `depth` is even. `packed` has room for round_up(cols, kInt8Cols) *
// depth numbers and is aligned to 64 bytes.
void pack_int8(const int8_t * weights, int64_t stride, int64_t cols, int64_t depth, int16_t * packed);

// Rows `stride` bytes apart become rows `depth` numbers apart.
void widen_int8(const int8_t * x, int64_t stride, int64_t rows, int64_t depth, int16_t * wide);

struct Int8Block {
    const int16_t * x;  // rows `depth` numbers apart
    int64_t rows;       // 1 to kInt8Rows
    const int16_t * packed;
    int64_t cols;
    int64_t depth;   // even, at most kInt8MaxDepth
    int32_t * sums;  // [rows][sums_stride]; columns past the last, up to a whole panel, get any values
    int64_t sums_stride;
    bool add;  // to what the sums hold
};

struct Int8Kernel {
    std::string_view name;
    void (*multiply)(const Int8Block & block);
};

// All that this CPU runs, best first; the last is plain C++.
std::span<const Int8Kernel * const> int8_kernels();

}  // namespace ltx
