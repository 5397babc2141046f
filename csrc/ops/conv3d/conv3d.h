// Convolution with kernels 3x3 or 3x3x3 and stride 1 over a padded, channels-last buffer.
#pragma once

#include "ops/pad/frame_pieces.h"

namespace ltx {

// Kernels as networks hold them, in one of two layouts:
// - [in, out, taps], F32, F16 or BF16: computed as one product per tap. Rows of the buffer are numbered through, so the
//   window of a tap is the whole buffer shifted by a constant number of rows, and no column matrix is made. Rows that
//   fall into the padding are computed and left out at the end.
// - [in * taps, out], BF16, taps innermost, as files store it: computed by our own CPU kernel, which packs a few output
//   channels at a time. Only where has_direct_conv3d().
struct ConvKernel {
    ggml_tensor * weight = nullptr;
    ggml_tensor * bias = nullptr;  // F32 [out]
    int64_t taps = 27;             // 27 (time, height, width) or 9 (height, width)

    bool is_direct() const { return weight->ne[2] == 1; }
    int64_t in_channels() const { return is_direct() ? weight->ne[0] / taps : weight->ne[0]; }
    int64_t out_channels() const { return weight->ne[1]; }

    // Channels of the padded buffer; those past in_channels are zero.
    int64_t buffer_channels() const;
};

// Whether this CPU runs the kernel of the second layout.
bool has_direct_conv3d();

// padded: of the weight's type, [buffer_channels, W + 2, H + 2, T + taps / 9 - 1], as pad_frames makes it.
// residual: added to the result if given; its frames are those of the result.
// -> F32 [out, W, H, T]
ggml_tensor * conv3d(Graph & graph, const ConvKernel & kernel, ggml_tensor * padded, const FramePieces & residual = {});

struct ConvFinishConstants {
    int32_t padded_width, padded_height;
    PieceSet residual;
};

// Takes the sums at positions outside the padding, adds bias and residual.
// Sources: sums [out, rows], bias, the residual's pieces.
void conv3d_finish_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

struct DirectConvConstants {
    int32_t taps;
    PieceSet residual;
};

// Its input channels come in groups of this many.
inline constexpr int64_t kTappedChannels = 8;

struct TappedConvConstants {
    PieceSet residual;
};

// The convolution as one node over the first layout in BF16, for devices with matrix instructions; on the CPU it is the
// plain definition. Sources: weight [in, out, taps], bias, padded, the residual's pieces.
void conv3d_tapped_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

// Sources: weight [in * taps, out], bias, padded, the residual's pieces. Each thread goes through its output channels
// once, and lets the pages of a mapped weight go behind it.
void conv3d_direct_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

// What is in memory at once of the weight of such a node, in bytes.
size_t direct_conv_slices(const ggml_tensor * node, int num_threads);

}  // namespace ltx
