// RMS norm over the full width of all heads, then rotation of the halves of each head by tabulated angles.
#pragma once

#include "ops/custom.h"

namespace ltx {

// cos and sin of every angle, F32 [width / 2, tokens]: head h owns entries h * head_dim / 2 onwards.
struct RopeTables {
    ggml_tensor * cos;
    ggml_tensor * sin;
};

// x: F32 [width, tokens]; weight: F32 [width] (q_norm or k_norm). `rope` null: no rotation (text cross-attention).
// Within a head of d elements: out[r] = x[r] cos - x[r + d/2] sin; out[r + d/2] = x[r + d/2] cos + x[r] sin.
// Result: F32 or, for attention in BF16, rounded [head_dim, num_heads, tokens]. Throws ShapeError for other layouts; rows of x may lie apart.
ggml_tensor * norm_split_rope(Graph & graph, ggml_tensor * x, ggml_tensor * weight, const RopeTables * rope,
                              int64_t num_heads, float eps, ggml_type type = GGML_TYPE_F32);

struct NormSplitRopeConstants {
    float eps;
};

// Sources: x, weight, then cos and sin if it rotates.
void norm_split_rope_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
