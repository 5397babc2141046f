// The convolution as one product per block of positions: every tap is a segment of the depth, read where it lies.
#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/pages.h"
#include "base/stopping.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/scratch.h"
#include "kernels/simd.h"
#include "ops/conv3d/conv3d.h"

namespace ltx {

namespace {

// How the depth of the product is put together. The taps of a kernel row see nearly the same values, so they follow
// each other, as many channels at a time as stay in the first-level cache.
struct TapOrder {
    static constexpr int64_t kChannelsTogether = 256;

    int64_t taps;
    int64_t channels;  // a multiple of kGemmDepth

    int64_t depth() const { return taps * channels; }
    int64_t panel_bytes() const { return depth() * kGemmCols * static_cast<int64_t>(sizeof(Bf16)); }
    // How many channels follow each other from `channel` on, the first of those that go together.
    int64_t together(int64_t channel) const { return std::min(kChannelsTogether, channels - channel); }
    // Where a channel as a tap sees it lies in the depth.
    int64_t place(int64_t tap, int64_t channel) const {
        const int64_t begin = channel / kChannelsTogether * kChannelsTogether;
        return tap / 3 * 3 * channels + 3 * begin + tap % 3 * together(begin) + channel - begin;
    }
};

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

// Asks for the weights of a chunk of input channels. The chunks of an output channel follow each other, but those of
// the next one lie further away than the processor looks ahead.
void prefetch_kernels(const Bf16 * kernels, int64_t count) {
    constexpr int64_t kLine = 64 / sizeof(Bf16);
    for (const Bf16 * end = kernels + count; kernels < end; kernels += kLine) {
        __builtin_prefetch(kernels, /*rw=*/0, /*locality=*/2);
    }
}

// Output channels [first, first + cols) of weights (out, in, taps), one panel.
void pack_kernels(const GemmKernel & kernel, const Bf16 * weights, int64_t in, const TapOrder & order, int64_t first,
                  int64_t cols, Bf16 * packed) {
    const int64_t stride = order.taps * kGemmDepth;
    Bf16 * separated = GemmScratch::of_thread().decoded.get<Bf16>(stride * kGemmCols);
    for (int64_t channel = 0; channel < order.channels; channel += kGemmDepth) {
        for (int64_t col = 0; col < cols; ++col) {
            const Bf16 * kernels = weights + ((first + col) * in + channel) * order.taps;
            const int64_t left = in - channel - kGemmDepth;
            prefetch_kernels(kernels + stride, std::clamp<int64_t>(left, 0, kGemmDepth) * order.taps);
            separate_taps(kernels, order.taps, std::min(kGemmDepth, in - channel), separated + col * stride);
        }
        for (int64_t tap = 0; tap < order.taps; ++tap) {
            kernel.pack(separated + tap * kGemmDepth, stride, cols, kGemmDepth,
                        {packed, order.depth(), order.place(tap, channel)});
        }
    }
}

// Panels that are packed at a time: a block of positions meets all of them while its values are in the caches.
int64_t panels_at_once(const TapOrder & order) {
    return std::max<int64_t>(1, kPackedBytes / order.panel_bytes());
}

TapOrder order_of(const ggml_tensor * weight, int64_t taps) {
    return {taps, round_up(weight->ne[0] / taps, kGemmDepth)};
}

// The depth of the product at the first position, in the order in which it is packed.
std::vector<GemmSegment> segments_of(const ggml_tensor * padded, const TapOrder & order) {
    const auto * first = static_cast<const Bf16 *>(padded->data);
    const int64_t pitch = padded->ne[1];
    std::vector<GemmSegment> segments;
    for (int64_t row = 0; row < order.taps / 3; ++row) {
        for (int64_t channel = 0; channel < order.channels; channel += TapOrder::kChannelsTogether) {
            for (int64_t column = 0; column < 3; ++column) {
                const int64_t position = (row / 3 * padded->ne[2] + row % 3) * pitch + column;
                segments.push_back({first + position * padded->ne[0] + channel, order.together(channel)});
            }
        }
    }
    return segments;
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

size_t direct_conv_slices(const ggml_tensor * node, int num_threads) {
    const ggml_tensor * weight = node->src[0];
    const int64_t panels = panels_at_once(order_of(weight, constants_of<DirectConvConstants>(node).taps));
    return std::min(ggml_nbytes(weight), static_cast<size_t>(num_threads * panels * kGemmCols) * weight->nb[1]);
}

void conv3d_direct_cpu(ggml_tensor * dst, int thread, int num_threads, void * /*unused*/) {
    const auto params = constants_of<DirectConvConstants>(dst);
    const ggml_tensor * weight = dst->src[0];
    const ggml_tensor * padded = dst->src[2];
    const int64_t channels = padded->ne[0];
    const int64_t pitch = padded->ne[1];
    const int64_t frame_pitch = pitch * padded->ne[2];
    const int64_t out_channels = dst->ne[0];
    const TapOrder order = order_of(weight, params.taps);
    const GemmKernel & kernel = *gemm_kernel();
    const GemmScope scope(kernel);

    // Threads share the panels of output channels as far as these go round, and the blocks of positions beyond that.
    const int64_t panels = round_up(out_channels, kGemmCols) / kGemmCols;
    const int64_t panel_shares = std::gcd(panels, static_cast<int64_t>(num_threads));
    const int64_t block_shares = num_threads / panel_shares;
    // From the first result of a frame to its last one, the padding between rows included.
    const int64_t positions = (dst->ne[2] - 1) * pitch + dst->ne[1];
    // Rows of whole blocks are taken by themselves, which leaves that padding out.
    const int64_t row_blocks = dst->ne[1] % kGemmRows == 0 ? dst->ne[1] / kGemmRows : 0;
    const int64_t frame_blocks = row_blocks > 0 ? row_blocks * dst->ne[2] : (positions + kGemmRows - 1) / kGemmRows;
    const RowRange own_panels =
        rows_of_thread(panels, static_cast<int>(thread % panel_shares), static_cast<int>(panel_shares));
    const RowRange own_blocks = rows_of_thread(frame_blocks * dst->ne[3], static_cast<int>(thread / panel_shares),
                                               static_cast<int>(block_shares));
    const std::vector<GemmSegment> segments = segments_of(padded, order);
    const int64_t panel_size = order.depth() * kGemmCols;
    alignas(64) float sums[kGemmRows * kGemmCols];
    const int64_t at_once = panels_at_once(order);
    for (int64_t begin = own_panels.begin; begin < own_panels.end; begin += at_once) {
        const int64_t end = std::min(begin + at_once, own_panels.end);
        const auto first_col = [&](int64_t panel) { return panel * kGemmCols; };
        const auto cols = [&](int64_t panel) { return std::min(kGemmCols, out_channels - first_col(panel)); };
        Bf16 * packed = GemmScratch::of_thread().packed.get<Bf16>((end - begin) * panel_size);
        for (int64_t panel = begin; panel < end; ++panel) {
            pack_kernels(kernel, static_cast<const Bf16 *>(weight->data), weight->ne[0] / params.taps, order,
                         first_col(panel), cols(panel), packed + (panel - begin) * panel_size);
        }
        if (weight->flags & kMappedWeightFlag) {
            const auto step = static_cast<int64_t>(weight->nb[1]);
            const int64_t count = std::min(end * kGemmCols, out_channels) - first_col(begin);
            release_pages(static_cast<const std::byte *>(weight->data) + first_col(begin) * step,
                          static_cast<size_t>(count * step));
        }
        for (int64_t index = own_blocks.begin; index < own_blocks.end && !stopping(); ++index) {
            const int64_t frame = index / frame_blocks;
            const int64_t block = index % frame_blocks;
            const int64_t first =
                row_blocks > 0 ? block / row_blocks * pitch + block % row_blocks * kGemmRows : block * kGemmRows;
            // The last block of a frame moves back until it is full, because full blocks need no copy.
            const int64_t start = std::max<int64_t>(0, std::min(first, positions - kGemmRows));
            for (int64_t panel = begin; panel < end; ++panel) {
                kernel.multiply({.segments = segments,
                                 .row_stride = channels,
                                 .rows = std::min(kGemmRows, positions),
                                 .packed = packed + (panel - begin) * panel_size,
                                 .cols = cols(panel),
                                 .sums = sums,
                                 .sums_stride = kGemmCols,
                                 .add = false,
                                 .shift = (frame * frame_pitch + start) * channels});
                finish_block(dst, {first_col(panel), cols(panel), frame, first, std::min(first + kGemmRows, positions)},
                             sums + (first - start) * kGemmCols);
            }
        }
    }
}

}  // namespace ltx
