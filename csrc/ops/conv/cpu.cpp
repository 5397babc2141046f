#include <algorithm>
#include <cstring>
#include <vector>

#include "base/stopping.h"
#include "kernels/simd_math.h"
#include "ops/conv/conv.h"
#include "ops/conv/split.h"
#include "ops/conv/tile.h"

namespace ltx {

namespace {

// Of the activated input rows of one tile: a quarter of a usual second-level cache, half of one where rows are split,
// which are as many then.
constexpr int64_t kRowsBytes = 1 << 19;
constexpr int64_t kSplitRowsBytes = 1 << 20;
// Positions of a tile: enough to pay for the unpacking of kernel panels, few enough for their sums to stay close by.
constexpr int64_t kMaxPositions = 384;
// Pieces of work per thread, so that threads end at about the same time.
constexpr int64_t kPiecesPerThread = 8;

LTX_TARGET_CLONES
void activate_row(const float * __restrict x, float * __restrict out, int64_t channels, ConvActivation activation,
                  float value) {
    switch (activation) {
        case ConvActivation::LeakyRelu:
            for (int64_t i = 0; i < channels; ++i) {
                out[i] = x[i] < 0.0f ? x[i] * value : x[i];
            }
            return;
        case ConvActivation::PixelNormSilu: {
            const float scale = inverse_rms(x, channels, value);
            for (int64_t i = 0; i < channels; ++i) {
                const float y = x[i] * scale;
                out[i] = y / (1.0f + vector_exp(-y));
            }
            return;
        }
        case ConvActivation::None:
            // Not std::copy_n: Clang leaves out what a clone alone calls of LLVM's library.
            std::memcpy(out, x, static_cast<size_t>(channels) * sizeof(float));
    }
}

// The window of an input that a tile reads: lines and columns of the repeated input, from `top` and `left` on.
struct Window {
    int64_t top;
    int64_t left;
    int64_t lines;
    int64_t columns;
};

int64_t rows_in_budget(const RowLayout & layout) {
    return (layout.split ? kSplitRowsBytes : kRowsBytes) / layout.row_bytes();
}

// Memory for so many rows, and for what a tile may read behind them.
std::byte * reserve_rows(TileScratch & scratch, const RowLayout & layout, int64_t rows, int64_t stride) {
    return scratch.rows((rows + (layout.split ? layout.block * stride : 0)) * layout.row_bytes());
}

void fill_rows(const ggml_tensor * x, const Window & window, int64_t repeat, ConvActivation activation, float value,
               const RowLayout & layout, TileScratch & scratch, std::byte * rows) {
    const int64_t channels = x->ne[0];
    const auto * values = static_cast<const float *>(x->data);
    float * activated = layout.split ? scratch.row(channels) : nullptr;
    for (int64_t line = window.top; line < window.top + window.lines; ++line) {
        const bool outside = line < 0 || line >= x->ne[2] * repeat;
        for (int64_t column = window.left; column < window.left + window.columns;
             ++column, rows += layout.row_bytes()) {
            if (outside || column < 0 || column >= x->ne[1] * repeat) {
                std::fill_n(rows, layout.row_bytes(), std::byte{0});
                continue;
            }
            const float * row = values + (line / repeat * x->ne[1] + column / repeat) * channels;
            if (!layout.split) {
                activate_row(row, reinterpret_cast<float *>(rows), channels, activation, value);
                continue;
            }
            if (activation != ConvActivation::None) {
                activate_row(row, activated, channels, activation, value);
                row = activated;
            }
            split_row(row, channels, layout.pitch / kGemmParts, reinterpret_cast<Bf16 *>(rows));
        }
    }
}

int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// How many of `length` positions a tile takes, at most `limit`.
int64_t tile_length(int64_t length, int64_t limit, int64_t block) {
    if (limit >= length) {
        return length;
    }
    const int64_t blocks = std::max<int64_t>(limit / block, 1);
    return std::min(length, blocks * block);
}

void multiply(const RowLayout & layout, const Tile & tile, int64_t first_panel, int64_t last_panel,
              TileScratch & scratch) {
    (layout.split ? multiply_split_tile : multiply_tile)(tile, first_panel, last_panel, scratch);
}

// The part of the work that falls to a thread: tiles, each divided into groups of panels where tiles are few.
class Pieces {
public:
    Pieces(int64_t tiles, int64_t panels, int thread, int num_threads)
        : panels_(panels),
          groups_(std::clamp<int64_t>(ceil_div(kPiecesPerThread * num_threads, tiles), 1, panels)),
          range_(rows_of_thread(tiles * groups_, thread, num_threads)) {}

    // Calls work(tile, first_panel, last_panel), tiles in order.
    template <typename Work>
    void for_each(Work && work) const {
        for (int64_t piece = range_.begin; piece < range_.end && !stopping(); ++piece) {
            const int64_t group = piece % groups_;
            work(piece / groups_, panels_ * group / groups_, panels_ * (group + 1) / groups_);
        }
    }

private:
    int64_t panels_;
    int64_t groups_;
    RowRange range_;
};

const float * values_of(const ggml_tensor * tensor) {
    return static_cast<const float *>(tensor->data);
}

}  // namespace

void conv_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * weight = node->src[1];
    const auto c = constants_of<ConvConstants>(node);
    const float * bias = c.has_bias ? values_of(node->src[2]) : nullptr;
    const float * residual = c.has_residual ? values_of(node->src[c.has_bias ? 3 : 2]) : nullptr;
    const int64_t out = node->ne[0];
    const int64_t width = node->ne[1];
    const int64_t height = node->ne[2];
    const int64_t kernel_height = weight->ne[2] / c.kernel_width;
    const int64_t span_x = c.dilation * (c.kernel_width - 1) + 1;

    const RowLayout layout = RowLayout::of(weight);
    const int64_t rows_budget = rows_in_budget(layout);
    const int64_t tile_width = tile_length(
        width, std::clamp((rows_budget / kernel_height - span_x) / c.stride + 1, layout.block, kMaxPositions),
        layout.block);
    const int64_t columns = (tile_width - 1) * c.stride + span_x;
    const int64_t lines_budget = std::max<int64_t>((rows_budget / columns - kernel_height) / c.stride + 1, 1);
    const int64_t tile_height = std::min({height, lines_budget, std::max<int64_t>(kMaxPositions / tile_width, 1)});

    std::vector<TileTap> taps;
    for (int64_t tap = 0; tap < weight->ne[2]; ++tap) {
        taps.push_back({tap, (tap / c.kernel_width * columns + tap % c.kernel_width * c.dilation) * layout.pitch});
    }
    const int64_t tiles_x = ceil_div(width, tile_width);
    const int64_t tiles_y = ceil_div(height, tile_height);
    TileScratch scratch;
    std::byte * rows =
        reserve_rows(scratch, layout, ((tile_height - 1) * c.stride + kernel_height) * columns, c.stride);
    int64_t filled = -1;
    const Pieces pieces(tiles_x * tiles_y, ceil_div(out, layout.panel), thread, num_threads);
    pieces.for_each([&](int64_t index, int64_t first_panel, int64_t last_panel) {
        const int64_t left = index % tiles_x * tile_width;
        const int64_t top = index / tiles_x * tile_height;
        const int64_t lines = std::min(tile_height, height - top);
        if (index != filled) {
            const Window window{top * c.stride - c.pad_top, left * c.stride - c.pad_left,
                                (lines - 1) * c.stride + kernel_height, columns};
            fill_rows(x, window, c.repeat, c.activation, c.value, layout, scratch, rows);
            filled = index;
        }
        const int64_t at = (top * width + left) * out;
        const Tile tile{.weight = weight,
                        .taps = taps,
                        .rows = rows,
                        .lines = lines,
                        .width = std::min(tile_width, width - left),
                        .line_stride = c.stride * columns * layout.pitch,
                        .step = c.stride * layout.pitch,
                        .out = static_cast<float *>(node->data) + at,
                        .out_line_stride = width * out,
                        .out_step = out,
                        .bias = bias,
                        .residual = residual ? residual + at : nullptr};
        multiply(layout, tile, first_panel, last_panel, scratch);
    });
}

void conv_transpose_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * weight = node->src[1];
    const auto c = constants_of<ConvTransposeConstants>(node);
    const float * bias = c.has_bias ? values_of(node->src[2]) : nullptr;
    const int64_t out = node->ne[0];
    const int64_t width = x->ne[1];
    const int64_t taps = weight->ne[2];
    const int64_t cut = (taps - c.stride) / 2;
    // Inputs q - margin .. q + margin reach the outputs q * stride + phase.
    const int64_t margin = taps / c.stride + 1;

    const RowLayout layout = RowLayout::of(weight);
    const int64_t tile_width =
        tile_length(width, std::clamp(rows_in_budget(layout) - 2 * margin, layout.block, kMaxPositions), layout.block);
    TileScratch scratch;
    std::byte * rows = reserve_rows(scratch, layout, tile_width + 2 * margin, 1);
    int64_t filled = -1;
    const Pieces pieces(ceil_div(width, tile_width), ceil_div(out, layout.panel), thread, num_threads);
    std::vector<TileTap> phase_taps;
    pieces.for_each([&](int64_t index, int64_t first_panel, int64_t last_panel) {
        const int64_t left = index * tile_width;
        if (index != filled) {
            fill_rows(x, {0, left - margin, 1, tile_width + 2 * margin}, 1, c.activation, c.value, layout, scratch,
                      rows);
            filled = index;
        }
        for (int64_t phase = 0; phase < c.stride; ++phase) {
            phase_taps.clear();
            for (int64_t tap = (phase + cut) % c.stride; tap < taps; tap += c.stride) {
                phase_taps.push_back({tap, (margin + (phase + cut - tap) / c.stride) * layout.pitch});
            }
            const Tile tile{.weight = weight,
                            .taps = phase_taps,
                            .rows = rows,
                            .lines = 1,
                            .width = std::min(tile_width, width - left),
                            .line_stride = 0,
                            .step = layout.pitch,
                            .out = static_cast<float *>(node->data) + (left * c.stride + phase) * out,
                            .out_line_stride = 0,
                            .out_step = c.stride * out,
                            .bias = bias,
                            .residual = nullptr};
            multiply(layout, tile, first_panel, last_panel, scratch);
        }
    });
}

}  // namespace ltx
