#include "ops/split_rope/split_rope.h"

namespace ltx {

namespace {

// The definition of the result, from stock operations.
ggml_tensor * norm_split_rope_composed(ggml_context * ctx, ggml_tensor * x, ggml_tensor * weight,
                                       const RopeTables * rope, int64_t num_heads, float eps) {
    const int64_t tokens = x->ne[1];
    const int64_t head_dim = x->ne[0] / num_heads;
    const int64_t half = head_dim / 2;
    x = ggml_mul(ctx, ggml_rms_norm(ctx, x, eps), weight);
    if (!rope) {
        return ggml_reshape_3d(ctx, x, head_dim, num_heads, tokens);
    }
    const auto half_view = [&](int64_t start) {  // ne: [half, num_heads, tokens]
        return ggml_view_3d(ctx, x, half, num_heads, tokens, x->nb[0] * head_dim, x->nb[1], x->nb[0] * start);
    };
    ggml_tensor * first = half_view(0);
    ggml_tensor * second = half_view(half);
    ggml_tensor * cos = ggml_reshape_3d(ctx, rope->cos, half, num_heads, tokens);
    ggml_tensor * sin = ggml_reshape_3d(ctx, rope->sin, half, num_heads, tokens);
    ggml_tensor * low = ggml_sub(ctx, ggml_mul(ctx, first, cos), ggml_mul(ctx, second, sin));
    ggml_tensor * high = ggml_add(ctx, ggml_mul(ctx, second, cos), ggml_mul(ctx, first, sin));
    return ggml_concat(ctx, low, high, 0);  // ne: [head_dim, num_heads, tokens]
}

}  // namespace

ggml_tensor * norm_split_rope(Graph & graph, ggml_tensor * x, ggml_tensor * weight, const RopeTables * rope,
                              int64_t num_heads, float eps) {
    return norm_split_rope_composed(graph.ctx(), x, weight, rope, num_heads, eps);
}

}  // namespace ltx
