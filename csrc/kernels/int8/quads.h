// Products of 8 bits that add up four of them in an instruction, on vectors; on matrix registers: tiles.h.
//
// Columns are packed in tiles of 16, in each quads of depth for one column after the other: [16 quads][16 columns][4
// bytes], which is what a matrix register holds, too. A panel is two tiles for each kTileDepth of the depth.
//
// This is included by sources for more than the baseline, and by one that tests it on any CPU, so all in here has
// internal linkage.
#pragma once

#include "kernels/int8/int8.h"

namespace ltx {

namespace {

constexpr int64_t kTileCols = 16;
constexpr int64_t kTileDepth = 64;
constexpr int64_t kQuadBytes = 4 * kTileCols;  // one quad of all columns
constexpr int64_t kTileBytes = kTileCols * kTileDepth;
constexpr int64_t kTilesOfPanel = kInt8Cols / kTileCols;

inline uint32_t load_quad(const int8_t * from) {
    uint32_t quad;
    __builtin_memcpy(&quad, from, sizeof(quad));
    return quad;
}

// Where the tile that begins with column `col`, a multiple of kTileCols, begins; those behind it lie kTilesOfPanel
// tiles apart.
template <typename Byte>
inline Byte * tile_of(Byte * packed, int64_t col, int64_t depth) {
    return packed + col / kInt8Cols * kInt8Cols * depth + col % kInt8Cols / kTileCols * kTileBytes;
}

// `flip`: bits to turn over in each quad.
inline void pack_tiles(const int8_t * weights, int64_t stride, int64_t cols, int64_t depth, std::byte * packed,
                       uint32_t flip) {
    const int64_t whole = (cols + kInt8Cols - 1) / kInt8Cols * kInt8Cols;
    for (int64_t col = 0; col < whole; ++col) {
        std::byte * out = tile_of(packed, col / kTileCols * kTileCols, depth) + 4 * (col % kTileCols);
        for (int64_t k = 0; k < depth; k += kTileDepth, out += kTilesOfPanel * kTileBytes) {
            for (int64_t quad = 0; quad < kTileDepth / 4; ++quad) {
                const uint32_t numbers = col < cols ? load_quad(weights + col * stride + k + 4 * quad) ^ flip : 0;
                __builtin_memcpy(out + quad * kQuadBytes, &numbers, sizeof(numbers));
            }
        }
    }
}

// x86's vectors multiply numbers without a sign by ones that have it. Columns are made the former by adding 128, which
// turns one bit over, and the sums are put right by 128 times those of the rows.
constexpr uint32_t kNoSign = 0x80808080u;

template <typename Vectors>
int32_t surplus_of(const int8_t * x, int64_t depth) {
    if constexpr (Vectors::kFlip == 0) {
        return 0;
    }
    int32_t sum = 0;
    for (int64_t k = 0; k < depth; ++k) {
        sum += x[k];
    }
    return 128 * sum;
}

// kRows rows times kTiles tiles that lie side by side. `Vectors` has 32-bit lanes for the columns of a tile; kFlip is
// kNoSign where columns have to be without.
template <typename Vectors, int kRows, int kTiles>
void multiply_rows(const Int8Block & in, int64_t row, int64_t col, const int32_t * surplus) {
    using Lanes = typename Vectors::Lanes;
    const int8_t * x = in.x + row * in.row_stride;
    const std::byte * w = tile_of(in.packed, col, in.depth);
    int32_t * sums = in.sums + row * in.sums_stride + col;
    Lanes sum[kRows][kTiles];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int t = 0; t < kTiles; ++t) {
            const Lanes held = in.add ? Vectors::load(sums + r * in.sums_stride + t * kTileCols) : Vectors::all(0);
            sum[r][t] = Vectors::minus(held, Vectors::all(static_cast<uint32_t>(surplus[row + r])));
        }
    }
    for (int64_t k = 0; k < in.depth; k += kTileDepth, w += kTilesOfPanel * kTileBytes) {
        for (int64_t quad = 0; quad < kTileDepth / 4; ++quad) {
            Lanes columns[kTiles];
#pragma GCC unroll 2
            for (int t = 0; t < kTiles; ++t) {
                columns[t] = Vectors::load(w + t * kTileBytes + quad * kQuadBytes);
            }
#pragma GCC unroll 16
            for (int r = 0; r < kRows; ++r) {
                const Lanes numbers = Vectors::all(load_quad(x + r * in.row_stride + k + 4 * quad));
#pragma GCC unroll 2
                for (int t = 0; t < kTiles; ++t) {
                    sum[r][t] = Vectors::add_products(sum[r][t], columns[t], numbers);
                }
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int t = 0; t < kTiles; ++t) {
            Vectors::store(sums + r * in.sums_stride + t * kTileCols, sum[r][t]);
        }
    }
}

// A block; kRows rows and kTiles tiles at once, as the registers allow.
template <typename Vectors, int kRows, int kTiles>
void multiply_on_vectors(const Int8Block & in) {
    int32_t surplus[kInt8Rows];
    for (int64_t row = 0; row < in.rows; ++row) {
        surplus[row] = surplus_of<Vectors>(in.x + row * in.row_stride, in.depth);
    }
    for (int64_t col = 0; col < in.cols; col += kTiles * kTileCols) {
        int64_t row = 0;
        for (; row + kRows <= in.rows; row += kRows) {
            multiply_rows<Vectors, kRows, kTiles>(in, row, col, surplus);
        }
        for (; row + kRows / 2 <= in.rows; row += kRows / 2) {
            multiply_rows<Vectors, kRows / 2, kTiles>(in, row, col, surplus);
        }
        for (; row < in.rows; ++row) {
            multiply_rows<Vectors, 1, kTiles>(in, row, col, surplus);
        }
    }
}

template <typename Vectors>
void pack_for_vectors(const int8_t * weights, int64_t stride, int64_t cols, int64_t depth, std::byte * packed) {
    pack_tiles(weights, stride, cols, depth, packed, Vectors::kFlip);
}

template <typename Vectors, int kRows, int kTiles>
constexpr Int8Kernel vector_kernel(std::string_view name) {
    return {name,
            kTileDepth,
            kInt8Rows,
            kInt8Panel,
            &pack_for_vectors<Vectors>,
            &multiply_on_vectors<Vectors, kRows, kTiles>,
            nullptr,
            nullptr};
}

}  // namespace

}  // namespace ltx
