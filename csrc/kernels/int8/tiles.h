// Products of 8 bits on matrix registers, over columns packed as in quads.h. Included by sources for more than the
// baseline and by a test, so all in here has internal linkage.
#pragma once

#include "kernels/int8/quads.h"

namespace ltx {

namespace {

// Matrix registers: 0 to 3 hold sums of 16 x 16, 4 and 5 rows of X, 6 and 7 columns of W.
// Two of 16 rows, or one, times a panel.
template <typename Tiles, bool kTwo>
void multiply_panel(Tiles & tiles, const int8_t * x, int64_t row_stride, const std::byte * w, int64_t depth,
                    int32_t * sums, int64_t sums_stride, bool add) {
    const int64_t sums_bytes = sums_stride * static_cast<int64_t>(sizeof(int32_t));
    int32_t * below = sums + 16 * sums_stride;
    if (add) {
        tiles.template load<0>(sums, sums_bytes);
        tiles.template load<1>(sums + kTileCols, sums_bytes);
        if constexpr (kTwo) {
            tiles.template load<2>(below, sums_bytes);
            tiles.template load<3>(below + kTileCols, sums_bytes);
        }
    } else {
        tiles.template zero<0>();
        tiles.template zero<1>();
        if constexpr (kTwo) {
            tiles.template zero<2>();
            tiles.template zero<3>();
        }
    }
    for (int64_t k = 0; k < depth; k += kTileDepth, w += kTilesOfPanel * kTileBytes) {
        tiles.template load<4>(x + k, row_stride);
        tiles.template load<6>(w, kQuadBytes);
        tiles.template load<7>(w + kTileBytes, kQuadBytes);
        tiles.template multiply<0, 4, 6>();
        tiles.template multiply<1, 4, 7>();
        if constexpr (kTwo) {
            tiles.template load<5>(x + 16 * row_stride + k, row_stride);
            tiles.template multiply<2, 5, 6>();
            tiles.template multiply<3, 5, 7>();
        }
    }
    tiles.template store<0>(sums, sums_bytes);
    tiles.template store<1>(sums + kTileCols, sums_bytes);
    if constexpr (kTwo) {
        tiles.template store<2>(below, sums_bytes);
        tiles.template store<3>(below + kTileCols, sums_bytes);
    }
}

// Two of 16 rows times three tiles of columns from `first` on: six products for five tiles that come from beyond the
// first-level cache, where the above has four for four. Registers: 0 to 5 hold sums, 6 columns of W, 7 rows of X.
template <typename Tiles>
void multiply_wide(Tiles & tiles, const Int8Block & in, int64_t row, int64_t first) {
    constexpr int64_t kStep = kTilesOfPanel * kTileBytes;
    const int8_t * x = in.x + row * in.row_stride;
    const int8_t * x_below = x + 16 * in.row_stride;
    const std::byte * left = tile_of(in.packed, first, in.depth);
    const std::byte * middle = tile_of(in.packed, first + kTileCols, in.depth);
    const std::byte * right = tile_of(in.packed, first + 2 * kTileCols, in.depth);
    int32_t * sums = in.sums + row * in.sums_stride + first;
    int32_t * below = sums + 16 * in.sums_stride;
    const int64_t sums_bytes = in.sums_stride * static_cast<int64_t>(sizeof(int32_t));
    if (in.add) {
        tiles.template load<0>(sums, sums_bytes);
        tiles.template load<1>(below, sums_bytes);
        tiles.template load<2>(sums + kTileCols, sums_bytes);
        tiles.template load<3>(below + kTileCols, sums_bytes);
        tiles.template load<4>(sums + 2 * kTileCols, sums_bytes);
        tiles.template load<5>(below + 2 * kTileCols, sums_bytes);
    } else {
        tiles.template zero<0>();
        tiles.template zero<1>();
        tiles.template zero<2>();
        tiles.template zero<3>();
        tiles.template zero<4>();
        tiles.template zero<5>();
    }
    for (int64_t k = 0; k < in.depth; k += kTileDepth, left += kStep, middle += kStep, right += kStep) {
        tiles.template load<6>(left, kQuadBytes);
        tiles.template load<7>(x + k, in.row_stride);
        tiles.template multiply<0, 7, 6>();
        tiles.template load<7>(x_below + k, in.row_stride);
        tiles.template multiply<1, 7, 6>();
        tiles.template load<6>(middle, kQuadBytes);
        tiles.template multiply<3, 7, 6>();
        tiles.template load<7>(x + k, in.row_stride);
        tiles.template multiply<2, 7, 6>();
        tiles.template load<6>(right, kQuadBytes);
        tiles.template multiply<4, 7, 6>();
        tiles.template load<7>(x_below + k, in.row_stride);
        tiles.template multiply<5, 7, 6>();
    }
    tiles.template store<0>(sums, sums_bytes);
    tiles.template store<1>(below, sums_bytes);
    tiles.template store<2>(sums + kTileCols, sums_bytes);
    tiles.template store<3>(below + kTileCols, sums_bytes);
    tiles.template store<4>(sums + 2 * kTileCols, sums_bytes);
    tiles.template store<5>(below + 2 * kTileCols, sums_bytes);
}

// 32 rows of more than this do not stay in the first-level cache.
constexpr int64_t kCachedDepth = 1024;
constexpr int64_t kWideCols = 3 * kInt8Cols;

// Rows that two registers take at once.
constexpr int64_t kTileRows = 32;

template <typename Tiles>
void multiply_on_tiles(const Int8Block & in) {
    Tiles tiles;
    const int64_t whole = in.rows / 16 * 16;
    const int64_t rest = in.rows - whole;
    // Registers read 16 rows. Fewer are copied, so that nothing past the last one is touched.
    constexpr int64_t kStride = kInt8MaxDepth + kTileDepth;  // no multiple of 4096
    static_assert(15 * kStride <= kInt8ScratchBytes);
    auto * copies = reinterpret_cast<int8_t *>(in.scratch);
    for (int64_t row = 0; row < rest; ++row) {
        __builtin_memcpy(copies + row * kStride, in.x + (whole + row) * in.row_stride, static_cast<size_t>(in.depth));
    }
    // Three panels at a time where two registers take all rows, then single ones.
    int64_t wide = 0;
    if (in.depth > kCachedDepth && whole % kTileRows == 0) {
        for (; wide + kWideCols - kInt8Cols < in.cols; wide += kWideCols) {
            for (int64_t row = 0; row < whole; row += kTileRows) {
                multiply_wide(tiles, in, row, wide);
                multiply_wide(tiles, in, row, wide + kWideCols / 2);
            }
        }
    }
    for (int64_t col = 0; col < in.cols; col += kInt8Cols) {
        const std::byte * w = tile_of(in.packed, col, in.depth);
        for (int64_t row = col < wide ? whole : 0; row < whole; row += kTileRows) {
            const int8_t * x = in.x + row * in.row_stride;
            int32_t * sums = in.sums + row * in.sums_stride + col;
            const auto multiply =
                row + kTileRows <= whole ? &multiply_panel<Tiles, true> : &multiply_panel<Tiles, false>;
            multiply(tiles, x, in.row_stride, w, in.depth, sums, in.sums_stride, in.add);
        }
        if (rest > 0) {
            multiply_panel<Tiles, false>(tiles, copies, kStride, w, in.depth, in.sums + whole * in.sums_stride + col,
                                         in.sums_stride, in.add);
        }
    }
}

}  // namespace

}  // namespace ltx
