#include "ops/conv/split.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "kernels/simd.h"

namespace ltx {

namespace {

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

// Packs the panel that starts at output `first`, all taps in order.
void pack_panel(const GemmKernel & kernel, const Tile & tile, int64_t first, int64_t count, int64_t padded_depth,
                Bf16 * packed) {
    const int64_t depth = tile.weight->ne[1];
    const int64_t stride = tile.weight->ne[0];
    const auto * matrices = static_cast<const Bf16 *>(tile.weight->data);
    const int64_t whole_depth = static_cast<int64_t>(tile.taps.size()) * padded_depth;
    int64_t place = 0;
    for (const TileTap & tap : tile.taps) {
        kernel.pack_transposed(matrices + tap.matrix * depth * stride + first, stride, count, depth,
                               {packed, whole_depth, place});
        place += padded_depth;
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
        pack_panel(kernel, tile, first, count, part, packed);
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
