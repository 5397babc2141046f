// silu(group_norm(x) * weight + bias + residual) with channels innermost: statistics over the channels of a group and
// all positions of all frames.
#pragma once

#include "kernels/custom.h"

namespace ltx {

// x: F32 [C, W, H, T] without gaps. weight, bias: F32 [C]. `groups` divides C. residual: like x, or null.
// Result: F32 [C, W, H, T]. Throws ShapeError.
ggml_tensor * group_norm_silu(Graph & graph, ggml_tensor * x, ggml_tensor * weight, ggml_tensor * bias, int64_t groups,
                              float eps, ggml_tensor * residual = nullptr);

struct GroupNormConstants {
    float eps;
};

// Mean and 1 / standard deviation of each group, F32 [2, groups]. Source: x.
void group_statistics_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

// Sources: x, statistics, weight, bias, then the residual if there is one.
void group_norm_silu_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
