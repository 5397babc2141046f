// Convolution with kernels 3x3 or 3x3x3 and stride 1 over a padded, channels-last buffer, as one product per tap.
#pragma once

#include "ops/pad/frame_pieces.h"

namespace ltx {

// weight: [in, out, taps], 27 taps (time, height, width) or 9 (height, width). bias: F32 [out].
// padded: of the weight's type (F32, F16, BF16), [in, W + 2, H + 2, T + taps / 9 - 1], as pad_frames makes it.
// residual: added to the result if given; its frames are those of the result.
// -> F32 [out, W, H, T]
//
// Rows of the buffer are numbered through, so the window of a tap is the whole buffer shifted by a constant number of
// rows: no column matrix is made. Rows that fall into the padding are computed and left out at the end.
ggml_tensor * conv3d(Graph & graph, ggml_tensor * weight, ggml_tensor * bias, ggml_tensor * padded,
                     const FramePieces & residual = {});

struct ConvFinishConstants {
    int32_t padded_width, padded_height;
    PieceSet residual;
};

// Takes the sums at positions outside the padding, adds bias and residual.
// Sources: sums [out, rows], bias, the residual's pieces.
void conv3d_finish_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
