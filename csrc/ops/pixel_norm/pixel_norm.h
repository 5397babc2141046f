// silu(x / sqrt(mean over channels of x^2 + eps)): what precedes every inner convolution of the video VAE.
// Source: ltx-core, PixelNorm without weights.
#pragma once

#include "kernels/custom.h"

namespace ltx {

// x: F32 [C, ...], channels of a position contiguous. Result: F32 of the same shape. Throws ShapeError.
ggml_tensor * pixel_norm_silu(Graph & graph, ggml_tensor * x, float eps);

struct PixelNormConstants {
    float eps;
};

// Source: x.
void pixel_norm_silu_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

// One row, for operations that fuse it with what follows. x and y may be the same.
void pixel_norm_silu_row(const float * x, float * y, int64_t channels, float eps);

}  // namespace ltx
