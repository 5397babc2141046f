// Windowed attention on tiles: matrix registers that multiply BF16 and add up in F32.
//
// Values are split in two numbers of BF16, x = high + low to 2^-17 of x, and a product of two such is three products:
// the one of both low parts is left out. So the result is that of float32 loops to about 1e-5.
//
// As window_kernel.h, this is included by sources for more than the baseline, and by one that tests it on any CPU.
#pragma once

#include <cstddef>

#include "ops/window_attention/window_kernel.h"

namespace ltx {

namespace {

// Rows of a tile: keys, or elements of a head; its columns are the queries of a vector.
constexpr int kTileRows = 16;
// Elements of a head, and keys, that one product adds up.
constexpr int kTileDepth = 32;
constexpr int kTileKeys = 16;
// Which tile holds what. Left operands have rows of pairs that right operands have in columns.
constexpr int kSums = 0;          // 4 tiles of 16 x 16 floats
constexpr int kRightQueries = 2;  // in place of two sums: 2 tiles of kTileDepth / 2 pairs x 16 queries
constexpr int kLeftKeys = 4;      // 16 keys x kTileDepth
constexpr int kLeftValues = 5;    // 16 elements x kTileKeys
constexpr int kRightWeights = 6;  // 2 tiles of kTileKeys / 2 pairs x 16 queries

// The shapes of all eight.
constexpr int kRowsOfTile[8] = {16, 16, 16, 16, kTileRows, kTileRows, kTileKeys / 2, kTileKeys / 2};
constexpr int kRowBytesOfTile[8] = {64, 64, 64, 64, 2 * kTileDepth, 2 * kTileKeys, 64, 64};

using Half [[gnu::may_alias]] = uint16_t;  // the upper half of a float

inline Half upper_half(float x) {
    const auto bits = __builtin_bit_cast(uint32_t, x);
    const uint32_t nearest = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return static_cast<Half>(x != x ? 0x7fc0u : nearest);
}

inline void split(float x, Half & high, Half & low) {
    high = upper_half(x);
    low = upper_half(x - __builtin_bit_cast(float, uint32_t{high} << 16));
}

// Rows of `columns` cells, `stride` floats apart -> (columns, high | low, head_dim). Zeros follow up to the end of the
// packed row, which has kTileKeys - 1 more.
inline void split_keys(const float * cells, int64_t stride, int64_t columns, int64_t head_dim, float * packed) {
    auto * out = reinterpret_cast<Half *>(packed);
    for (int64_t column = 0; column < columns; ++column, cells += stride, out += 2 * head_dim) {
        for (int64_t d = 0; d < head_dim; ++d) {
            split(cells[d], out[d], out[head_dim + d]);
        }
    }
    __builtin_memset(out, 0, static_cast<size_t>((kTileKeys - 1) * head_dim) * sizeof(float));
}

// The same -> (head_dim, high | low, columns and kTileKeys - 1 zeros).
inline void split_values(const float * cells, int64_t stride, int64_t columns, int64_t head_dim, float * packed) {
    auto * out = reinterpret_cast<Half *>(packed);
    const int64_t padded = columns + kTileKeys - 1;
    __builtin_memset(out, 0, static_cast<size_t>(padded * head_dim) * sizeof(float));
    for (int64_t column = 0; column < columns; ++column, cells += stride) {
        for (int64_t d = 0; d < head_dim; ++d) {
            split(cells[d], out[2 * d * padded + column], out[(2 * d + 1) * padded + column]);
        }
    }
}

// Rows of `width` floats, two by two -> (pairs, high | low, width, 2), in their place.
template <int kWidth>
inline void split_pairs(float * rows, int64_t count) {
    for (float * pair = rows; pair < rows + count * kWidth; pair += 2 * kWidth) {
        Half split_rows[2][2 * kWidth];
        for (int row = 0; row < 2; ++row) {
            for (int i = 0; i < kWidth; ++i) {
                split(pair[row * kWidth + i], split_rows[0][2 * i + row], split_rows[1][2 * i + row]);
            }
        }
        __builtin_memcpy(pair, split_rows, sizeof(split_rows));
    }
}

inline void split_queries(float * queries, int64_t head_dim) {
    split_pairs<kQueryVectors * kTileRows>(queries, head_dim);
}

// As Loops, with products on tiles. `Tiles` has the operations on them, see window_amx.cpp.
template <typename Tiles, int kVectors>
struct TileLoops {
    using Plain = Loops<kTileRows, kVectors>;
    using Ints = typename Lanes<kTileRows>::Ints;
    using Floats = typename Lanes<kTileRows>::Floats;
    static constexpr int kLogitStride = kVectors * kTileRows;
    static constexpr int64_t kVectorBytes = 4 * kTileRows;                    // of pairs, too
    static constexpr int64_t kQueryBytes = 2 * kQueryVectors * kVectorBytes;  // of a pair's high and low parts
    static constexpr int64_t kWeightBytes = 2 * kVectors * kVectorBytes;

    static int64_t padded(int64_t columns) { return (columns + kTileKeys - 1) / kTileKeys * kTileKeys; }

    // A tile of both vectors, or of the only one, from behind each other.
    template <int kTile>
    static void load_vectors(Tiles & tiles, const char * memory, int64_t stride) {
        tiles.template load<kTile>(memory, stride);
        if constexpr (kVectors == 2) {
            tiles.template load<kTile + 1>(memory + kVectorBytes, stride);
        }
    }

    template <int kSum, int kLeft, int kRight>
    static void multiply_vectors(Tiles & tiles) {
        tiles.template multiply<kSum, kLeft, kRight>();
        if constexpr (kVectors == 2) {
            tiles.template multiply<kSum + 1, kLeft, kRight + 1>();
        }
    }

    // Logits of kTileKeys keys of a row.
    static void score(Tiles & tiles, const char * keys, int64_t head_dim, const char * queries, float * logits) {
        const int64_t key_bytes = 4 * head_dim;
        tiles.template zero<kSums>();
        tiles.template zero<kSums + 1>();
        for (int64_t d = 0; d < head_dim; d += kTileDepth, keys += 2 * kTileDepth) {
            const char * high = queries + d / 2 * kQueryBytes;
            load_vectors<kRightQueries>(tiles, high + kQueryVectors * kVectorBytes, kQueryBytes);
            tiles.template load<kLeftKeys>(keys, key_bytes);
            multiply_vectors<kSums, kLeftKeys, kRightQueries>(tiles);
            load_vectors<kRightQueries>(tiles, high, kQueryBytes);
            multiply_vectors<kSums, kLeftKeys, kRightQueries>(tiles);
            tiles.template load<kLeftKeys>(keys + 2 * head_dim, key_bytes);
            multiply_vectors<kSums, kLeftKeys, kRightQueries>(tiles);
        }
        tiles.template store<kSums>(logits, 4 * kLogitStride);
        if constexpr (kVectors == 2) {
            tiles.template store<kSums + 1>(logits + kTileRows, 4 * kLogitStride);
        }
    }

    // Makes the logits of keys that a query does not see, and of those past the row, minus infinity.
    static void mask_row(const WindowPlane & plane, int64_t row, const int32_t * sees_time, float * logits) {
        const Ints unseen = Ints{} + static_cast<int32_t>(0xff800000u);
        for (int64_t key = 0; key < padded(plane.columns); ++key) {
            Ints seen = Lanes<kTileRows>::at(plane.sees_rows + row * kTileRows);
            seen &= key < plane.columns ? Lanes<kTileRows>::at(plane.sees_columns + key * kTileRows) : Ints{};
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                const Ints sees = seen & Lanes<kTileRows>::at(sees_time + v * kTileRows);
                Floats & logit = Lanes<kTileRows>::at(logits + key * kLogitStride + v * kTileRows);
                const Ints bits = (__builtin_bit_cast(Ints, logit) & sees) | (unseen & ~sees);
                logit = __builtin_bit_cast(Floats, bits);
            }
        }
    }

    // Adds kTileDepth elements of the values, times their weights, to the results.
    static void add(Tiles & tiles, const WindowPlane & plane, int64_t d, const char * weights, float * results) {
        constexpr int64_t kResultBytes = 4 * Plain::kQueryStride;
        const int64_t element_bytes = plane.row_stride / plane.head_dim * 4;  // high and low part of a row of values
        char * low_half = reinterpret_cast<char *>(results);
        char * high_half = low_half + kTileRows * kResultBytes;
        load_vectors<kSums>(tiles, low_half, kResultBytes);
        load_vectors<kSums + 2>(tiles, high_half, kResultBytes);
        for (int64_t row = 0; row < plane.rows; ++row) {
            const char * values = reinterpret_cast<const char *>(plane.values + row * plane.row_stride) +
                                  d * element_bytes + 2 * plane.first_column;
            const char * next = values + kTileRows * element_bytes;
            for (int64_t key = 0; key < plane.columns; key += kTileKeys) {
                load_vectors<kRightWeights>(tiles, weights + kVectors * kVectorBytes, kWeightBytes);
                tiles.template load<kLeftValues>(values + 2 * key, element_bytes);
                multiply_vectors<kSums, kLeftValues, kRightWeights>(tiles);
                tiles.template load<kLeftValues>(next + 2 * key, element_bytes);
                multiply_vectors<kSums + 2, kLeftValues, kRightWeights>(tiles);
                load_vectors<kRightWeights>(tiles, weights, kWeightBytes);
                multiply_vectors<kSums + 2, kLeftValues, kRightWeights>(tiles);
                tiles.template load<kLeftValues>(next + element_bytes / 2 + 2 * key, element_bytes);
                multiply_vectors<kSums + 2, kLeftValues, kRightWeights>(tiles);
                tiles.template load<kLeftValues>(values + element_bytes / 2 + 2 * key, element_bytes);
                multiply_vectors<kSums, kLeftValues, kRightWeights>(tiles);
                tiles.template load<kLeftValues>(values + 2 * key, element_bytes);
                multiply_vectors<kSums, kLeftValues, kRightWeights>(tiles);
                weights += kTileKeys / 2 * kWeightBytes;
            }
        }
        store_vectors<kSums>(tiles, low_half, kResultBytes);
        store_vectors<kSums + 2>(tiles, high_half, kResultBytes);
    }

    template <int kTile>
    static void store_vectors(Tiles & tiles, char * memory, int64_t stride) {
        tiles.template store<kTile>(memory, stride);
        if constexpr (kVectors == 2) {
            tiles.template store<kTile + 1>(memory + kVectorBytes, stride);
        }
    }

    static void attend(Tiles & tiles, const WindowPlane & plane, const WindowQueries & in, int first) {
        const int64_t row_keys = padded(plane.columns);
        const char * queries = reinterpret_cast<const char *>(in.queries) + first * kVectorBytes;
        for (int64_t row = 0; row < plane.rows; ++row) {
            const char * keys = reinterpret_cast<const char *>(plane.keys + row * plane.row_stride +
                                                               plane.first_column * plane.head_dim);
            float * logits = in.logits + row * row_keys * kLogitStride;
            for (int64_t key = 0; key < row_keys; key += kTileKeys) {
                score(tiles, keys + key * 4 * plane.head_dim, plane.head_dim, queries, logits + key * kLogitStride);
            }
            mask_row(plane, row, plane.sees_time + first * kTileRows, logits);
        }
        Plain::weigh(plane.rows * row_keys, in, first, plane.head_dim);
        split_pairs<kLogitStride>(in.logits, plane.rows * row_keys);
        for (int64_t d = 0; d < plane.head_dim; d += kTileDepth) {
            add(tiles, plane, d, reinterpret_cast<const char *>(in.logits),
                in.results + d * Plain::kQueryStride + first * kTileRows);
        }
    }
};

template <typename Tiles>
void attend_plane_on_tiles(const WindowPlane & plane, const WindowQueries & queries, int first, int count) {
    Tiles tiles;
    if (count == kQueryVectors) {
        TileLoops<Tiles, kQueryVectors>::attend(tiles, plane, queries, first);
    } else {
        TileLoops<Tiles, 1>::attend(tiles, plane, queries, first);
    }
}

// The form over these tiles; `begin` and `end` prepare a thread and release it.
template <typename Tiles>
constexpr WindowKernel tile_kernel(void (*begin)(), void (*end)()) {
    return {.time = 2,
            .height = 2,
            .width = 4,
            .attend = &attend_plane_on_tiles<Tiles>,
            .dims = kTileDepth,
            .spare_columns = kTileKeys - 1,
            .pack_keys = &split_keys,
            .pack_values = &split_values,
            .pack_queries = &split_queries,
            .begin = begin,
            .end = end};
}

}  // namespace

}  // namespace ltx
