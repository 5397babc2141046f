#include "nn/attention.h"

#include <cmath>

#include "graph/not_finite.h"
#include "graph/product.h"
#include "kernels/gemm/gemm.h"
#include "ops/attention/attention.h"
#include "ops/mark_not_finite/mark_not_finite.h"

namespace ltx {

Attention Attention::load(const Scope & scope, const AttentionConfig & config) {
    const int64_t inner = config.num_heads * config.head_dim;
    Attention attention{
        .to_q = Linear::load(scope.at("to_q"), config.query_width, inner),
        .to_k = Linear::load(scope.at("to_k"), config.context_width, inner),
        .to_v = Linear::load(scope.at("to_v"), config.context_width, inner),
        .to_out = Linear::load(scope.at("to_out.0"), inner, config.output_width),
        .q_norm = scope.require("q_norm.weight", {inner}, WeightKind::Vector),
        .k_norm = scope.require("k_norm.weight", {inner}, WeightKind::Vector),
        .to_gate_logits = std::nullopt,
        .num_heads = config.num_heads,
        .head_dim = config.head_dim,
        .norm_eps = config.norm_eps,
    };
    if (config.gated) {
        attention.to_gate_logits = Linear::load(scope.at("to_gate_logits"), config.query_width, config.num_heads);
    }
    return attention;
}

ggml_type Attention::activations() const {
    for (const Linear * layer : {&to_q, &to_k, &to_v}) {
        if (activation_type(layer->weight) == GGML_TYPE_F32) {
            return GGML_TYPE_F32;
        }
    }
    return GGML_TYPE_BF16;
}

ggml_tensor * Attention::build(Graph & graph, const AttentionInputs & in, const LinearEpilogue & epilogue) const {
    ggml_context * ctx = graph.ctx();
    const int64_t tokens = in.x->ne[1];
    // Each input is rounded once for all of its products.
    ggml_tensor * context = to_v.round_input(graph, in.context);
    ggml_tensor * x = in.x == in.context ? context : to_q.round_input(graph, in.x);
    const bool own = attends_in_bf16(graph, activations(), head_dim);
    ggml_tensor * v = to_v.build(graph, context, {.for_products = own && !in.pass_values});  // ne: [inner, context]
    ggml_tensor * gate = to_gate_logits ? to_gate_logits->build(graph, x) : nullptr;         // ne: [num_heads, tokens]
    ggml_tensor * heads = v;
    if (!in.pass_values) {
        const ggml_type type = own ? GGML_TYPE_BF16 : GGML_TYPE_F32;
        ggml_tensor * q =
            norm_split_rope(graph, to_q.build(graph, x), q_norm, in.query_rope, num_heads, norm_eps, type);
        ggml_tensor * k =
            norm_split_rope(graph, to_k.build(graph, context), k_norm, in.key_rope, num_heads, norm_eps, type);
        v = ggml_view_3d(ctx, v, head_dim, num_heads, v->ne[1], v->nb[0] * head_dim, v->nb[1], 0);
        heads = attend(graph, {.q = q,
                               .k = k,
                               .v = v,
                               .mask = in.mask,
                               .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)),
                               .activations = activations(),
                               .gate_logits = own ? gate : nullptr});
    }
    if (gate && (!own || in.pass_values)) {
        // The factor 2 makes a zero-initialised gate neutral.
        gate = ggml_scale(ctx, where_finite(ctx, ggml_sigmoid(ctx, gate), gate), 2.0f);
        gate = ggml_reshape_3d(ctx, gate, 1, num_heads, tokens);
        heads = ggml_mul(ctx, ggml_reshape_3d(ctx, heads, head_dim, num_heads, tokens), gate);
        heads = ggml_reshape_2d(ctx, heads, head_dim * num_heads, tokens);
    }
    return to_out.build(graph, heads, epilogue);
}

bool attends_in_bf16(const Graph & graph, ggml_type activations, int64_t head_dim) {
    return graph.own_products() && graph.fuses("attention") && activations == GGML_TYPE_BF16 &&
           head_dim % kGemmDepth == 0;
}

namespace {

// 1 for each query to which the mask leaves a key, 0 for the others: F16 [keys, tokens] -> F32 [1, tokens].
ggml_tensor * sees_any(ggml_context * ctx, ggml_tensor * mask) {
    constexpr float kAboveLowestHalf = 65505.0f;
    ggml_tensor * visible = ggml_step(ctx, ggml_scale_bias(ctx, mask, 1.0f, kAboveLowestHalf));
    return ggml_step(ctx, ggml_sum_rows(ctx, visible));
}

// The definition of the result from products and a softmax: q, k, v as ggml's node takes them, [head_dim, rows, heads]
// -> [head_dim, heads, tokens]. Holds the weights of all pairs.
ggml_tensor * attend_by_products(Graph & graph, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, ggml_tensor * mask,
                                 float scale) {
    ggml_context * ctx = graph.ctx();
    constexpr float kHidden = -1e30f;             // finite: a row of nothing but minus infinities would become NaN
    ggml_tensor * logits = product(graph, k, q);  // ne: [keys, tokens, heads]
    ggml_tensor * sees = nullptr;
    if (mask) {
        mask = ggml_cast(ctx, mask, GGML_TYPE_F32);
        sees = sees_any(ctx, mask);
        mask = ggml_clamp(ctx, mask, kHidden, -kHidden);
    }
    ggml_tensor * weights = ggml_soft_max_ext(ctx, logits, mask, scale, /*max_bias=*/0.0f);
    ggml_tensor * columns = ggml_cont(ctx, ggml_transpose(ctx, v));  // ne: [keys, head_dim, heads]
    ggml_tensor * o = product(graph, columns, weights);              // ne: [head_dim, tokens, heads]
    return ggml_cont(ctx, ggml_permute(ctx, sees ? ggml_mul(ctx, o, sees) : o, 0, 2, 1, 3));
}

}  // namespace

ggml_tensor * attend(Graph & graph, const HeadInputs & in) {
    ggml_context * ctx = graph.ctx();
    if (attends_in_bf16(graph, in.activations, in.q->ne[0])) {
        const auto rounded = [&](ggml_tensor * x) {
            return x->type == GGML_TYPE_BF16 ? x : ggml_cast(ctx, x, GGML_TYPE_BF16);
        };
        return bf16_attention(graph, rounded(in.q), rounded(in.k), rounded(in.v), in.mask, in.gate_logits, in.scale);
    }
    const auto wide = [&](ggml_tensor * x) { return x->type == GGML_TYPE_F32 ? x : ggml_cast(ctx, x, GGML_TYPE_F32); };
    const int64_t width = in.q->ne[0] * in.q->ne[1];
    const int64_t tokens = in.q->ne[2];
    ggml_tensor * all_k = wide(in.k);
    ggml_tensor * all_v = wide(in.v);
    ggml_tensor * q = ggml_permute(ctx, in.q, 0, 2, 1, 3);   // ne: [head_dim, tokens, heads]
    ggml_tensor * k = ggml_permute(ctx, all_k, 0, 2, 1, 3);  // ne: [head_dim, context_tokens, heads]
    ggml_tensor * v = ggml_permute(ctx, all_v, 0, 2, 1, 3);  // ne: [head_dim, context_tokens, heads]
    // ne: [head_dim, heads, tokens], as ggml returns it
    ggml_tensor * o = graph.stock_attention() == StockAttention::Node
                          ? attention_node(graph, q, k, v, in.mask, in.scale)
                          : attend_by_products(graph, q, k, v, in.mask, in.scale);
    const AttentionOperands operands = in.new_k ? AttentionOperands{in.q, in.new_k, in.new_v, /*mask=*/nullptr}
                                                : AttentionOperands{in.q, all_k, all_v, in.mask};
    o = mark_not_finite(graph, o, operands);
    return ggml_reshape_2d(ctx, o, width, tokens);
}

}  // namespace ltx
