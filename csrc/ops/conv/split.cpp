#include "ops/conv/split.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "kernels/simd.h"

namespace ltx {

namespace {

constexpr int64_t kTileElements = 512;  // 16 columns times kGemmDepth values
constexpr int64_t kTileCols = 16;

LTX_TARGET_CLONES
void split_values(const float * __restrict x, int64_t count, Bf16 * __restrict upper, Bf16 * __restrict middle,
                  Bf16 * __restrict lower) {
    constexpr uint32_t kUpperHalf = 0xffff0000u;
    for (int64_t i = 0; i < count; ++i) {
        const auto high = std::bit_cast<uint32_t>(x[i]);
        const float rest = x[i] - std::bit_cast<float>(high & kUpperHalf);
        const auto mid = std::bit_cast<uint32_t>(rest);
        const float last = rest - std::bit_cast<float>(mid & kUpperHalf);
        upper[i] = static_cast<Bf16>(high >> 16);
        middle[i] = static_cast<Bf16>(mid >> 16);
        lower[i] = static_cast<Bf16>(std::bit_cast<uint32_t>(last) >> 16);
    }
}

// Pairs of two rows: element c of `even` below element c of `odd`.
LTX_TARGET_CLONES
void zip_rows(const Bf16 * __restrict even, const Bf16 * __restrict odd, int64_t count, uint32_t * __restrict out) {
    for (int64_t c = 0; c < count; ++c) {
        out[c] = static_cast<uint32_t>(even[c]) | static_cast<uint32_t>(odd[c]) << 16;
    }
}

// Packs the panel that starts at output `first`, all taps in order.
void pack_panel(const Tile & tile, int64_t first, int64_t count, int64_t padded_depth, Bf16 * packed) {
    const int64_t depth = tile.weight->ne[1];
    const int64_t stride = tile.weight->ne[0];
    std::array<Bf16, kGemmCols> even{};
    std::array<Bf16, kGemmCols> odd{};
    std::array<uint32_t, kGemmCols> pairs;
    const auto row = [&](const Bf16 * matrix, int64_t i, std::array<Bf16, kGemmCols> & padded) {
        const Bf16 * values = matrix + i * stride + first;
        if (i < depth && count == kGemmCols) {
            return values;
        }
        std::fill(padded.begin(), padded.end(), Bf16{0});
        if (i < depth) {
            std::copy_n(values, count, padded.begin());
        }
        return static_cast<const Bf16 *>(padded.data());
    };
    for (const TileTap & tap : tile.taps) {
        const Bf16 * matrix = static_cast<const Bf16 *>(tile.weight->data) + tap.matrix * depth * stride;
        for (int64_t i = 0; i < padded_depth; i += 2) {
            zip_rows(row(matrix, i, even), row(matrix, i + 1, odd), kGemmCols, pairs.data());
            Bf16 * out = packed + i / kGemmDepth * 2 * kTileElements + i % kGemmDepth * kTileCols;
            std::memcpy(out, pairs.data(), kTileCols * sizeof(uint32_t));
            std::memcpy(out + kTileElements, pairs.data() + kTileCols, kTileCols * sizeof(uint32_t));
        }
        packed += padded_depth * kGemmCols;
    }
}

}  // namespace

bool splits(const ggml_tensor * weight) {
    const GemmKernel * kernel = gemm_kernel();
    return kernel && kernel->multiply_parts && weight->type == GGML_TYPE_BF16;
}

void split_row(const float * x, int64_t count, int64_t part, Bf16 * out) {
    split_values(x, count, out, out + part, out + 2 * part);
    for (int64_t i = 0; i < kGemmParts; ++i) {
        std::fill(out + i * part + count, out + (i + 1) * part, Bf16{0});
    }
}

void multiply_split_tile(const Tile & tile, int64_t first_panel, int64_t last_panel, TileScratch & scratch) {
    const GemmKernel & kernel = *gemm_kernel();
    const GemmScope scope(kernel);
    const int64_t out = tile.weight->ne[0];
    const int64_t part = round_up(tile.weight->ne[1], kGemmDepth);
    const auto * rows = static_cast<const Bf16 *>(tile.rows);
    Bf16 * packed = scratch.packed(static_cast<int64_t>(tile.taps.size()) * part * kGemmCols);
    float * sums = scratch.sums(kGemmRows * kGemmCols);
    std::vector<GemmSegment> segments(tile.taps.size());
    for (int64_t p = first_panel; p < last_panel; ++p) {
        const int64_t first = p * kGemmCols;
        const int64_t count = std::min(kGemmCols, out - first);
        pack_panel(tile, first, count, part, packed);
        for (int64_t line = 0; line < tile.lines; ++line) {
            for (int64_t x = 0; x < tile.width; x += kGemmRows) {
                const int64_t width = std::min(kGemmRows, tile.width - x);
                const Bf16 * position = rows + line * tile.line_stride + x * tile.step;
                std::transform(tile.taps.begin(), tile.taps.end(), segments.begin(),
                               [&](const TileTap & tap) { return GemmSegment{position + tap.offset, part}; });
                kernel.multiply_parts({.segments = segments,
                                       .row_stride = tile.step,
                                       .rows = round_up(width, 16),
                                       .packed = packed,
                                       .cols = kGemmCols,
                                       .sums = sums,
                                       .sums_stride = kGemmCols,
                                       .add = false},
                                      part);
                store_sums(tile, {.line = line, .x = x, .width = width}, sums, kGemmCols, first, count);
            }
        }
    }
}

}  // namespace ltx
