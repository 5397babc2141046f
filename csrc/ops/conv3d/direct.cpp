// The convolution as one product per block of positions: every tap is a segment of the depth, read where it lies.
#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/pages.h"
#include "base/stopping.h"
#include "kernels/gemm/gemm.h"
#include "kernels/simd.h"
#include "ops/conv3d/conv3d.h"

namespace ltx {

namespace {

// The taps of a kernel row see nearly the same values, so they follow each other 32 channels at a time, while these are
// in the first-level cache.
struct TapOrder {
    int64_t taps;
    int64_t chunks;  // of kGemmDepth channels

    int64_t segments() const { return taps * chunks; }
    int64_t depth() const { return segments() * kGemmDepth; }
    int64_t segment(int64_t tap, int64_t chunk) const { return (tap / 3 * chunks + chunk) * 3 + tap % 3; }
};

struct alignas(64) CacheLine {
    Bf16 values[32];
};

Bf16 * values_of(std::vector<CacheLine> & lines, int64_t count) {
    const auto needed = static_cast<size_t>((count + 31) / 32);
    if (lines.size() < needed) {
        lines.resize(needed);
    }
    return lines.front().values;
}

// [channels][taps] -> [taps][kGemmDepth], zeros behind the last channel.
void separate_taps(const Bf16 * __restrict kernel, int64_t taps, int64_t channels, Bf16 * __restrict separated) {
    int64_t c = 0;
    for (; c + 4 <= channels; c += 4) {
        const Bf16 * from = kernel + c * taps;
        for (int64_t tap = 0; tap < taps; ++tap) {
            // One store instead of four.
            const std::array<Bf16, 4> four{from[tap], from[taps + tap], from[2 * taps + tap], from[3 * taps + tap]};
            std::memcpy(separated + tap * kGemmDepth + c, &four, sizeof(four));
        }
    }
    for (; c < kGemmDepth; ++c) {
        for (int64_t tap = 0; tap < taps; ++tap) {
            separated[tap * kGemmDepth + c] = c < channels ? kernel[c * taps + tap] : Bf16{0};
        }
    }
}

// Output channels [first, first + cols) of weights (out, in, taps).
const Bf16 * pack_kernels(const GemmKernel & kernel, const Bf16 * weights, int64_t in, const TapOrder & order,
                          int64_t first, int64_t cols) {
    static thread_local std::vector<CacheLine> packed_lines, separated_lines;
    Bf16 * packed = values_of(packed_lines, order.depth() * kGemmCols);
    const int64_t stride = order.taps * kGemmDepth;
    Bf16 * separated = values_of(separated_lines, stride * kGemmCols);
    for (int64_t chunk = 0; chunk < order.chunks; ++chunk) {
        const int64_t channel = chunk * kGemmDepth;
        for (int64_t col = 0; col < cols; ++col) {
            separate_taps(weights + ((first + col) * in + channel) * order.taps, order.taps,
                          std::min(kGemmDepth, in - channel), separated + col * stride);
        }
        for (int64_t tap = 0; tap < order.taps; ++tap) {
            kernel.pack(separated + tap * kGemmDepth, stride, cols, kGemmDepth,
                        {packed, order.depth(), order.segment(tap, chunk) * kGemmDepth});
        }
    }
    return packed;
}

// `rows` neighbouring positions: sums + bias + residual.
LTX_TARGET_CLONES
void finish_rows(const float * sums, const float * bias, const float * residual, int64_t residual_stride, float * out,
                 int64_t out_stride, int64_t rows, int64_t cols) {
    for (int64_t row = 0; row < rows; ++row) {
        const float * sum = sums + row * kGemmCols;
        float * to = out + row * out_stride;
        if (residual) {
            const float * added = residual + row * residual_stride;
            for (int64_t c = 0; c < cols; ++c) {
                to[c] = added[c] + (sum[c] + bias[c]);
            }
        } else {
            for (int64_t c = 0; c < cols; ++c) {
                to[c] = sum[c] + bias[c];
            }
        }
    }
}

// The output channels of one panel at one block of positions.
struct Block {
    int64_t first_col, cols;
    int64_t frame;
    int64_t first, end;  // positions of the frame, numbered through the padded rows
};

void finish_block(ggml_tensor * dst, const Block & block, const float * sums) {
    const auto params = constants_of<DirectConvConstants>(dst);
    const ggml_tensor * padded = dst->src[2];
    const FramePieces residual = pieces_of(dst, 3, params.residual);
    const int64_t split = frame_count(residual.earlier);
    const ggml_tensor * piece = block.frame < split ? residual.earlier : residual.frames;
    const int64_t piece_frame = block.frame < split ? block.frame : block.frame - split;
    const auto * bias = static_cast<const float *>(dst->src[1]->data) + block.first_col;
    const int64_t pitch = padded->ne[1];
    for (int64_t position = block.first; position < block.end;) {
        const int64_t row = position / pitch;
        const int64_t x = position % pitch;
        const int64_t next = std::min((row + 1) * pitch, block.end);
        const int64_t count = std::min(next, row * pitch + dst->ne[1]) - position;
        const float * added = nullptr;
        int64_t added_stride = 0;
        if (piece) {
            added_stride = static_cast<int64_t>(piece->nb[1] / sizeof(float));
            added = reinterpret_cast<const float *>(static_cast<const char *>(piece->data) + x * piece->nb[1] +
                                                    row * piece->nb[2] + piece_frame * piece->nb[3]) +
                    block.first_col;
        }
        auto * out = reinterpret_cast<float *>(static_cast<char *>(dst->data) + x * dst->nb[1] + row * dst->nb[2] +
                                               block.frame * dst->nb[3]);
        finish_rows(sums + (position - block.first) * kGemmCols, bias, added, added_stride, out + block.first_col,
                    dst->ne[0], count, block.cols);
        position = next;
    }
}

}  // namespace

bool has_direct_conv3d() {
    return gemm_kernel() != nullptr;
}

size_t direct_conv_slices(const ggml_tensor * weight, int num_threads) {
    return std::min(ggml_nbytes(weight), static_cast<size_t>(num_threads * kGemmCols) * weight->nb[1]);
}

void conv3d_direct_cpu(ggml_tensor * dst, int thread, int num_threads, void * /*unused*/) {
    const auto params = constants_of<DirectConvConstants>(dst);
    const ggml_tensor * weight = dst->src[0];
    const ggml_tensor * padded = dst->src[2];
    const int64_t channels = padded->ne[0];
    const int64_t pitch = padded->ne[1];
    const int64_t frame_pitch = pitch * padded->ne[2];
    const int64_t out_channels = dst->ne[0];
    const int64_t in_channels = weight->ne[0] / params.taps;
    const TapOrder order{params.taps, round_up(in_channels, kGemmDepth) / kGemmDepth};
    const GemmKernel & kernel = *gemm_kernel();
    const GemmScope scope(kernel);

    // Threads share the panels of output channels as far as these go round, and the blocks of positions beyond that.
    const int64_t panels = round_up(out_channels, kGemmCols) / kGemmCols;
    const int64_t panel_shares = std::gcd(panels, static_cast<int64_t>(num_threads));
    const int64_t block_shares = num_threads / panel_shares;
    // From the first result of a frame to its last one, the padding between rows included.
    const int64_t positions = (dst->ne[2] - 1) * pitch + dst->ne[1];
    const int64_t frame_blocks = (positions + kGemmRows - 1) / kGemmRows;
    const RowRange own_panels =
        rows_of_thread(panels, static_cast<int>(thread % panel_shares), static_cast<int>(panel_shares));
    const RowRange own_blocks = rows_of_thread(frame_blocks * dst->ne[3], static_cast<int>(thread / panel_shares),
                                               static_cast<int>(block_shares));
    std::vector<GemmSegment> segments(static_cast<size_t>(order.segments()));
    for (int64_t tap = 0; tap < order.taps; ++tap) {
        const int64_t shift = tap / 9 * frame_pitch + tap / 3 % 3 * pitch + tap % 3;
        for (int64_t chunk = 0; chunk < order.chunks; ++chunk) {
            segments[static_cast<size_t>(order.segment(tap, chunk))] = {
                static_cast<const Bf16 *>(padded->data) + shift * channels + chunk * kGemmDepth, kGemmDepth};
        }
    }
    alignas(64) float sums[kGemmRows * kGemmCols];
    for (int64_t panel = own_panels.begin; panel < own_panels.end; ++panel) {
        const int64_t first_col = panel * kGemmCols;
        const int64_t cols = std::min(kGemmCols, out_channels - first_col);
        const Bf16 * packed =
            pack_kernels(kernel, static_cast<const Bf16 *>(weight->data), in_channels, order, first_col, cols);
        if (weight->flags & kMappedWeightFlag) {
            const auto step = static_cast<int64_t>(weight->nb[1]);
            release_pages(static_cast<const std::byte *>(weight->data) + first_col * step,
                          static_cast<size_t>(cols * step));
        }
        for (int64_t index = own_blocks.begin; index < own_blocks.end && !stopping(); ++index) {
            const int64_t frame = index / frame_blocks;
            const int64_t first = index % frame_blocks * kGemmRows;
            // The last block of a frame moves back until it is full, because full blocks need no copy.
            const int64_t start = std::max<int64_t>(0, std::min(first, positions - kGemmRows));
            kernel.multiply({.segments = segments,
                             .row_stride = channels,
                             .rows = std::min(kGemmRows, positions),
                             .packed = packed,
                             .cols = cols,
                             .sums = sums,
                             .sums_stride = kGemmCols,
                             .add = false,
                             .shift = (frame * frame_pitch + start) * channels});
            finish_block(dst, {first_col, cols, frame, first, std::min(first + kGemmRows, positions)},
                         sums + (first - start) * kGemmCols);
        }
    }
}

}  // namespace ltx
