#include "ops/conv/tile.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "base/cpuid.h"
#include "ops/conv/split.h"
#include "ops/conv/tile_kernel.h"

namespace ltx {

namespace {

// Rows of a kernel matrix in one panel: with the inputs they meet they stay in the first-level cache.
constexpr int64_t kMaxDepth = 256;
constexpr int64_t kMaxTaps = 16;

// `count` columns of one row of a matrix, filled up with zeros to a panel.
void read_row(const ggml_tensor * weight, const std::byte * row, int64_t first, int64_t count, int64_t panel,
              float * out) {
    switch (weight->type) {
        case GGML_TYPE_BF16: {
            const auto * from = reinterpret_cast<const uint16_t *>(row) + first;
            for (int64_t i = 0; i < count; ++i) {
                out[i] = std::bit_cast<float>(static_cast<uint32_t>(from[i]) << 16);
            }
            break;
        }
        case GGML_TYPE_F16:
            ggml_fp16_to_fp32_row(reinterpret_cast<const ggml_fp16_t *>(row) + first, out, count);
            break;
        default:
            std::memcpy(out, reinterpret_cast<const float *>(row) + first, static_cast<size_t>(count) * sizeof(float));
    }
    std::fill(out + count, out + panel, 0.0f);
}

// Input channels [first_row, first_row + depth) of some taps, one after the other.
struct DepthBlock {
    std::span<const TileTap> taps;
    int64_t first_row;
    int64_t depth;
};

void fill_panel(const ggml_tensor * weight, const DepthBlock & block, int64_t first, int64_t count, int64_t width,
                float * panel) {
    for (const TileTap & tap : block.taps) {
        const auto * matrix =
            static_cast<const std::byte *>(weight->data) + tap.matrix * static_cast<int64_t>(weight->nb[2]);
        for (int64_t i = 0; i < block.depth; ++i, panel += width) {
            read_row(weight, matrix + (block.first_row + i) * static_cast<int64_t>(weight->nb[1]), first, count, width,
                     panel);
        }
    }
}

// Vectors of 8 on whatever the baseline offers.
const TileKernel kBaseline{16, 6, &multiply_any<8, 6>};

}  // namespace

const TileKernel & tile_kernel() {
#if defined(__x86_64__)
    const X86Features & has = x86_features();
    return has.avx512f ? kTileAvx512 : has.avx2 && has.fma ? kTileAvx2 : kBaseline;
#else
    return kBaseline;
#endif
}

RowLayout RowLayout::of(const ggml_tensor * weight) {
    const int64_t channels = weight->ne[1];
    if (splits(weight)) {
        return {.split = true,
                .pitch = kGemmParts * round_up(channels, kGemmDepth),
                .panel = kGemmCols,
                .block = kGemmRows};
    }
    // Rows a multiple of 1024 bytes apart would share a few sets of the first-level cache.
    constexpr int64_t kCrowded = 256;
    constexpr int64_t kApart = 16;
    return {.split = false,
            .pitch = channels % kCrowded == 0 ? channels + kApart : channels,
            .panel = tile_kernel().panel,
            .block = tile_kernel().block};
}

void store_sums(const Tile & tile, const TileRun & run, const float * sums, int64_t panel, int64_t first,
                int64_t count) {
    for (int64_t x = run.x; x < run.x + run.width; ++x, sums += panel) {
        const int64_t at = run.line * tile.out_line_stride + x * tile.out_step + first;
        for (int64_t o = 0; o < count; ++o) {
            const float biased = tile.bias ? sums[o] + tile.bias[first + o] : sums[o];
            tile.out[at + o] = tile.residual ? tile.residual[at + o] + biased : biased;
        }
    }
}

void multiply_tile(const Tile & tile, int64_t first_panel, int64_t last_panel, TileScratch & scratch) {
    const TileKernel & kernel = tile_kernel();
    const int64_t in = tile.weight->ne[1];
    const int64_t out = tile.weight->ne[0];
    const int64_t depth = std::min(in, kMaxDepth);
    // Narrow layers put several taps into one block.
    const auto taps_at_once =
        static_cast<size_t>(in > kMaxDepth ? 1 : std::clamp<int64_t>(kMaxDepth / in, 1, kMaxTaps));
    float * panel = scratch.panel(kMaxDepth * kernel.panel);
    float * sums = scratch.sums(tile.lines * tile.width * kernel.panel);
    const auto * rows = static_cast<const float *>(tile.rows);
    int64_t offsets[kMaxTaps];
    for (int64_t p = first_panel; p < last_panel; ++p) {
        const int64_t first = p * kernel.panel;
        const int64_t count = std::min(kernel.panel, out - first);
        bool nothing_yet = true;
        for (size_t t = 0; t < tile.taps.size(); t += taps_at_once) {
            const auto taps = tile.taps.subspan(t, std::min(taps_at_once, tile.taps.size() - t));
            for (int64_t row = 0; row < in; row += depth) {
                const DepthBlock block{taps, row, std::min(depth, in - row)};
                fill_panel(tile.weight, block, first, count, kernel.panel, panel);
                for (size_t i = 0; i < taps.size(); ++i) {
                    offsets[i] = taps[i].offset + row;
                }
                for (int64_t line = 0; line < tile.lines; ++line) {
                    const BlockInputs inputs{panel,
                                             offsets,
                                             static_cast<int64_t>(taps.size()),
                                             block.depth,
                                             rows + line * tile.line_stride,
                                             tile.step,
                                             sums + line * tile.width * kernel.panel,
                                             nothing_yet};
                    kernel.multiply(inputs, tile.width, 2 * count <= kernel.panel);
                }
                nothing_yet = false;
            }
        }
        for (int64_t line = 0; line < tile.lines; ++line) {
            store_sums(tile, {.line = line, .x = 0, .width = tile.width}, sums + line * tile.width * kernel.panel,
                       kernel.panel, first, count);
        }
    }
}

}  // namespace ltx
