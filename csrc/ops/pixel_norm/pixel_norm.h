// silu(x / sqrt(mean over channels of x^2 + eps)): what precedes every inner convolution of the video VAE.
// Source: ltx-core, PixelNorm without weights.
#pragma once

#include "graph/graph.h"

namespace ltx {

// x: F32 [C, ...]. Result: F32 of the same shape.
ggml_tensor * pixel_norm_silu(Graph & graph, ggml_tensor * x, float eps);

// Writes the normalised and activated row of `channels` values. The kernel of pixel_norm_silu, and of operations that
// fuse it with what follows.
void pixel_norm_silu_row(const float * x, float * y, int64_t channels, float eps);

}  // namespace ltx
