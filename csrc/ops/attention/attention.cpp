#include "ops/attention/attention.h"

#include <string>

#include "base/error.h"
#include "kernels/gemm/gemm.h"

namespace ltx {

namespace {

void expect_heads(std::string_view argument, const ggml_tensor * tensor, int64_t head_dim, int64_t tokens) {
    expect_rows("attention", argument, tensor, GGML_TYPE_BF16, {head_dim, kAny, tokens, 1});
}

}  // namespace

ggml_tensor * bf16_attention(Graph & graph, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, ggml_tensor * mask,
                             ggml_tensor * gate_logits, float scale) {
    const int64_t head_dim = q->ne[0];
    const int64_t heads = q->ne[1];
    const int64_t tokens = q->ne[2];
    const int64_t context_tokens = k->ne[2];
    expect_heads("q", q, head_dim, tokens);
    expect_heads("k", k, head_dim, context_tokens);
    expect_heads("v", v, head_dim, context_tokens);
    if (head_dim % kGemmDepth != 0 || k->ne[1] != v->ne[1] || heads % k->ne[1] != 0) {
        throw ShapeError("attention: ", heads, " heads of ", head_dim, " over ", k->ne[1], " and ", v->ne[1],
                         " do not fit; a head has a multiple of 32 elements");
    }
    if (mask) {
        expect_rows("attention", "mask", mask, GGML_TYPE_F16, {context_tokens, tokens, 1, 1});
    }
    if (gate_logits) {
        expect_rows("attention", "gate_logits", gate_logits, GGML_TYPE_F32, {heads, tokens, 1, 1});
    }
    const int64_t width = head_dim * heads;
    ggml_tensor * wide = custom_node_with(graph, GGML_TYPE_BF16, {rounded_row_stride(graph, width), tokens, 1, 1},
                                          {q, k, v, mask, gate_logits}, &bf16_attention_cpu,
                                          AttentionConstants{scale, mask != nullptr, gate_logits != nullptr});
    return first_columns(graph, wide, width);
}

}  // namespace ltx
