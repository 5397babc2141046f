#include "ops/conv/tile.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/simd.h"

namespace ltx {

namespace {

// Rows of a kernel matrix in one panel: with the inputs they meet they stay in the first-level cache.
constexpr int64_t kMaxDepth = 256;
constexpr int64_t kMaxTaps = 16;

using Vector [[gnu::vector_size(kTileVector * sizeof(float)), gnu::aligned(alignof(float)), gnu::may_alias]] = float;

// `count` columns of one row of a matrix, filled up with zeros to kTilePanel.
void read_row(const ggml_tensor * weight, const std::byte * row, int64_t first, int64_t count, float * out) {
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
        default: std::memcpy(out, reinterpret_cast<const float *>(row) + first, static_cast<size_t>(count) * sizeof(float));
    }
    std::fill(out + count, out + kTilePanel, 0.0f);
}

// Input channels [first_row, first_row + depth) of some taps, one after the other.
struct DepthBlock {
    std::span<const TileTap> taps;
    int64_t first_row;
    int64_t depth;
};

void fill_panel(const ggml_tensor * weight, const DepthBlock & block, int64_t first, int64_t count, float * panel) {
    for (const TileTap & tap : block.taps) {
        const auto * matrix = static_cast<const std::byte *>(weight->data) + tap.matrix * static_cast<int64_t>(weight->nb[2]);
        for (int64_t i = 0; i < block.depth; ++i, panel += kTilePanel) {
            read_row(weight, matrix + (block.first_row + i) * static_cast<int64_t>(weight->nb[1]), first, count, panel);
        }
    }
}

struct BlockInputs {
    const float * panel;
    const int64_t * offsets;
    int64_t taps;
    int64_t depth;
    const float * rows;
    int64_t step;
    float * sums;  // kTilePanel per position
    bool first;    // nothing has been summed yet
};

// The inner loop: kRows positions times kVectors vectors of output channels, all sums in registers.
template <int kRows, int kVectors>
LTX_ALWAYS_INLINE void multiply_block(const BlockInputs & in, int64_t position) {
    const float * rows = in.rows + position * in.step;
    float * sums = in.sums + position * kTilePanel;
    const float * panel = in.panel;
    const int64_t step = in.step;
    Vector sum[kRows][kVectors];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
            sum[r][v] = in.first ? Vector{} : *reinterpret_cast<const Vector *>(sums + r * kTilePanel + v * kTileVector);
        }
    }
    for (int64_t tap = 0; tap < in.taps; ++tap) {
        const float * x = rows + in.offsets[tap];
        for (int64_t i = 0; i < in.depth; ++i, ++x, panel += kTilePanel) {
            Vector w[kVectors];
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                w[v] = *reinterpret_cast<const Vector *>(panel + v * kTileVector);
            }
#pragma GCC unroll 16
            for (int r = 0; r < kRows; ++r) {
                const float value = x[r * step];
#pragma GCC unroll 2
                for (int v = 0; v < kVectors; ++v) {
                    sum[r][v] += w[v] * value;
                }
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
            *reinterpret_cast<Vector *>(sums + r * kTilePanel + v * kTileVector) = sum[r][v];
        }
    }
}

template <int kVectors>
LTX_ALWAYS_INLINE void multiply_line(const BlockInputs & in, int64_t width) {
    int64_t position = 0;
    for (; position + kTileBlock <= width; position += kTileBlock) {
        multiply_block<kTileBlock, kVectors>(in, position);
    }
    for (; position + 4 <= width; position += 4) {
        multiply_block<4, kVectors>(in, position);
    }
    for (; position < width; ++position) {
        multiply_block<1, kVectors>(in, position);
    }
}

LTX_TARGET_CLONES
void multiply_wide_line(const BlockInputs & in, int64_t width) {
    multiply_line<2>(in, width);
}

LTX_TARGET_CLONES
void multiply_narrow_line(const BlockInputs & in, int64_t width) {
    multiply_line<1>(in, width);
}

void store(const Tile & tile, const float * sums, int64_t first, int64_t count) {
    for (int64_t line = 0; line < tile.lines; ++line) {
        for (int64_t x = 0; x < tile.width; ++x, sums += kTilePanel) {
            const int64_t at = line * tile.out_line_stride + x * tile.out_step + first;
            for (int64_t o = 0; o < count; ++o) {
                const float biased = tile.bias ? sums[o] + tile.bias[first + o] : sums[o];
                tile.out[at + o] = tile.residual ? tile.residual[at + o] + biased : biased;
            }
        }
    }
}

}  // namespace

void multiply_tile(const Tile & tile, int64_t first_panel, int64_t last_panel, TileScratch & scratch) {
    const int64_t in = tile.weight->ne[1];
    const int64_t out = tile.weight->ne[0];
    const int64_t depth = std::min(in, kMaxDepth);
    // Narrow layers put several taps into one block.
    const auto taps_at_once =
        static_cast<size_t>(in > kMaxDepth ? 1 : std::clamp<int64_t>(kMaxDepth / in, 1, kMaxTaps));
    float * panel = scratch.panel(kMaxDepth * kTilePanel);
    float * sums = scratch.sums(tile.lines * tile.width * kTilePanel);
    int64_t offsets[kMaxTaps];
    for (int64_t p = first_panel; p < last_panel; ++p) {
        const int64_t first = p * kTilePanel;
        const int64_t count = std::min<int64_t>(kTilePanel, out - first);
        bool nothing_yet = true;
        for (size_t t = 0; t < tile.taps.size(); t += taps_at_once) {
            const auto taps = tile.taps.subspan(t, std::min(taps_at_once, tile.taps.size() - t));
            for (int64_t row = 0; row < in; row += depth) {
                const DepthBlock block{taps, row, std::min(depth, in - row)};
                fill_panel(tile.weight, block, first, count, panel);
                for (size_t i = 0; i < taps.size(); ++i) {
                    offsets[i] = taps[i].offset + row;
                }
                for (int64_t line = 0; line < tile.lines; ++line) {
                    const BlockInputs inputs{panel,
                                             offsets,
                                             static_cast<int64_t>(taps.size()),
                                             block.depth,
                                             tile.rows + line * tile.line_stride,
                                             tile.step,
                                             sums + line * tile.width * kTilePanel,
                                             nothing_yet};
                    if (count > kTileVector) {
                        multiply_wide_line(inputs, tile.width);
                    } else {
                        multiply_narrow_line(inputs, tile.width);
                    }
                }
                nothing_yet = false;
            }
        }
        store(tile, sums, first, count);
    }
}

}  // namespace ltx
