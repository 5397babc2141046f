#include "ops/conv/split.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "kernels/simd.h"

namespace ltx {

namespace {

// Depth of one multiply: its columns stay in the first-level cache while the three parts of the rows pass by.
constexpr int64_t kChunkDepth = 512;
constexpr size_t kMaxSegments = kChunkDepth / kGemmDepth;
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

// A run of the depth of all taps together.
struct Chunk {
    std::array<int64_t, kMaxSegments> offsets;
    std::array<int64_t, kMaxSegments> depths;
    size_t segments = 0;
    int64_t first = 0;
};

std::vector<Chunk> chunks_of(const Tile & tile, int64_t padded_depth) {
    std::vector<Chunk> chunks;
    int64_t left = 0;
    int64_t done = 0;
    for (const TileTap & tap : tile.taps) {
        for (int64_t i = 0; i < padded_depth;) {
            if (left == 0) {
                chunks.push_back({.offsets = {}, .depths = {}, .first = done});
                left = kChunkDepth;
            }
            const int64_t take = std::min(left, padded_depth - i);
            Chunk & chunk = chunks.back();
            chunk.offsets[chunk.segments] = tap.offset + i;
            chunk.depths[chunk.segments++] = take;
            i += take;
            left -= take;
            done += take;
        }
    }
    return chunks;
}

}  // namespace

bool splits(const ggml_tensor * weight) {
    const GemmKernel * kernel = gemm_kernel();
    return kernel && kernel->outruns_float && weight->type == GGML_TYPE_BF16;
}

void split_row(const float * x, int64_t count, int64_t part, Bf16 * out) {
    split_values(x, count, out, out + part, out + 2 * part);
    for (int64_t i = 0; i < kSplitParts; ++i) {
        std::fill(out + i * part + count, out + (i + 1) * part, Bf16{0});
    }
}

void multiply_split_tile(const Tile & tile, int64_t first_panel, int64_t last_panel, TileScratch & scratch) {
    const GemmKernel & kernel = *gemm_kernel();
    const GemmScope scope(kernel);
    const int64_t out = tile.weight->ne[0];
    const int64_t part = round_up(tile.weight->ne[1], kGemmDepth);
    const auto * rows = static_cast<const Bf16 *>(tile.rows);
    const std::vector<Chunk> chunks = chunks_of(tile, part);
    Bf16 * packed = scratch.packed(static_cast<int64_t>(tile.taps.size()) * part * kGemmCols);
    float * sums = scratch.sums(kGemmRows * kGemmCols);
    std::array<GemmSegment, kMaxSegments> segments;
    for (int64_t p = first_panel; p < last_panel; ++p) {
        const int64_t first = p * kGemmCols;
        const int64_t count = std::min(kGemmCols, out - first);
        pack_panel(tile, first, count, part, packed);
        for (int64_t line = 0; line < tile.lines; ++line) {
            for (int64_t x = 0; x < tile.width; x += kGemmRows) {
                const int64_t width = std::min(kGemmRows, tile.width - x);
                const Bf16 * position = rows + line * tile.line_stride + x * tile.step;
                for (const Chunk & chunk : chunks) {
                    for (int64_t i = 0; i < kSplitParts; ++i) {
                        for (size_t s = 0; s < chunk.segments; ++s) {
                            segments[s] = {position + chunk.offsets[s] + i * part, chunk.depths[s]};
                        }
                        kernel.multiply({.segments = {segments.data(), chunk.segments},
                                         .row_stride = tile.step,
                                         .rows = round_up(width, 16),
                                         .packed = packed + chunk.first * kGemmCols,
                                         .cols = kGemmCols,
                                         .sums = sums,
                                         .sums_stride = kGemmCols,
                                         .add = i > 0 || chunk.first > 0});
                    }
                }
                store_sums(tile, {.line = line, .x = x, .width = width}, sums, kGemmCols, first, count);
            }
        }
    }
}

}  // namespace ltx
