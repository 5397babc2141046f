// RMS norm over the full width of all heads, then rotation of the halves of each head by tabulated angles.
#pragma once

#include "kernels/custom.h"

namespace ltx {

// cos and sin of angles, F32 [width / 2, count]: head h owns entries h * head_dim / 2 onwards. A token's are the sum of
// the rows that `rows`, I32 [tokens, axes], lists for it (nn/rope.h); null: row t is token t's.
struct RopeTables {
    ggml_tensor * cos;
    ggml_tensor * sin;
    ggml_tensor * rows = nullptr;
};

inline constexpr int64_t kMaxRopeAxes = 3;

// Tables as operations of this graph take them best: in the composed form, with rows added up once for all of them.
RopeTables shared_rope_tables(Graph & graph, const RopeTables & tables);

// x: F32 [width, tokens]; weight: F32 [width] (q_norm or k_norm). `rope` null: no rotation (text cross-attention).
// Within a head of d elements: out[r] = x[r] cos - x[r + d/2] sin; out[r + d/2] = x[r + d/2] cos + x[r] sin.
// Result: F32 or, for attention in BF16, rounded [head_dim, num_heads, tokens]. Rows of x may lie apart; a token listed
// with a row that is not there gets NaN. Throws ShapeError for other layouts.
ggml_tensor * norm_split_rope(Graph & graph, ggml_tensor * x, ggml_tensor * weight, const RopeTables * rope,
                              int64_t num_heads, float eps, ggml_type type = GGML_TYPE_F32);

struct NormSplitRopeConstants {
    float eps;
};

// Sources: x, weight, then cos and sin if it rotates, then rows if they are listed.
void norm_split_rope_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
