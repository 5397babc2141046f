#include "ops/bias_gelu/bias_gelu.h"

namespace ltx {

namespace {

// sqrt(2 / pi) and the cubic coefficient of the tanh approximation (Hendrycks and Gimpel, 2016).
constexpr float kSqrt2OverPi = 0.7978845608028654f;
constexpr float kCubic = 0.044715f;

// The definition of the result, from stock operations: 0.5 y (1 + tanh(c (y + 0.044715 y^3))).
ggml_tensor * bias_gelu_composed(ggml_context * ctx, ggml_tensor * x, ggml_tensor * bias) {
    ggml_tensor * y = bias ? ggml_add(ctx, x, bias) : x;
    ggml_tensor * cubic = ggml_mul(ctx, y, ggml_scale_bias(ctx, ggml_sqr(ctx, y), kCubic, 1.0f));
    ggml_tensor * gate = ggml_scale_bias(ctx, ggml_tanh(ctx, ggml_scale(ctx, cubic, kSqrt2OverPi)), 0.5f, 0.5f);
    return ggml_mul(ctx, y, gate);  // ne: [width, tokens]
}

}  // namespace

ggml_tensor * bias_gelu(Graph & graph, ggml_tensor * x, ggml_tensor * bias) {
    expect_rows("bias_gelu", "x", x, GGML_TYPE_F32, {kAny, kAny, 1, 1});
    if (bias) {
        expect_rows("bias_gelu", "bias", bias, GGML_TYPE_F32, {x->ne[0], 1, 1, 1});
    }
    if (!graph.fuses("bias_gelu")) {
        return bias_gelu_composed(graph.ctx(), x, bias);
    }
    return custom_node(graph, GGML_TYPE_F32, {x->ne[0], x->ne[1], 1, 1}, {x, bias}, &bias_gelu_cpu);
}

}  // namespace ltx
