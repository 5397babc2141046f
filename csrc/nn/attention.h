// Multi-head attention as the transformer and the text connectors use it: full-width q/k norm, split RoPE and an
// optional sigmoid gate per head. Source: ltx-core, transformer/attention.py.
#pragma once

#include <optional>

#include "nn/linear.h"
#include "ops/split_rope/split_rope.h"

namespace ltx {

struct AttentionConfig {
    int64_t query_width;    // width of x
    int64_t context_width;  // width of the key and value input
    int64_t output_width;
    int64_t num_heads;
    int64_t head_dim;
    bool gated;
    float norm_eps;
};

struct AttentionInputs {
    ggml_tensor * x;                          // [query_width, tokens]
    ggml_tensor * context;                    // [context_width, context_tokens]; x itself for self-attention
    const RopeTables * query_rope = nullptr;  // null: no rotation
    const RopeTables * key_rope = nullptr;
    ggml_tensor * mask = nullptr;  // F16 [context_tokens, tokens], added to the logits; or null
    bool pass_values = false;      // STG: each token keeps its own value instead of attending
};

struct Attention {
    Linear to_q, to_k, to_v, to_out;
    ggml_tensor * q_norm = nullptr;  // ne: [num_heads * head_dim]
    ggml_tensor * k_norm = nullptr;
    std::optional<Linear> to_gate_logits;  // query_width -> num_heads
    int64_t num_heads = 0;
    int64_t head_dim = 0;
    float norm_eps = 0;

    static Attention load(const Scope & scope, const AttentionConfig & config);

    // -> [output_width, tokens]
    // `epilogue` as in ops/linear, applied to the result.
    ggml_tensor * build(Graph & graph, const AttentionInputs & inputs, const LinearEpilogue & epilogue = {}) const;

    // The type of queries, keys and values where products are our own: that of the activations between its layers.
    ggml_type activations() const;
};

// Whether attend() computes in BF16: products are our own and the activations have that type.
bool attends_in_bf16(const Graph & graph, ggml_type activations, int64_t head_dim);

struct HeadInputs {
    ggml_tensor * q;               // F32 [head_dim, heads, tokens]
    ggml_tensor * k;               // F32 or BF16 [head_dim, heads or a divisor of it, context_tokens]
    ggml_tensor * v;               // the same
    ggml_tensor * mask = nullptr;  // as in AttentionInputs
    float scale;                   // 1 / sqrt(head_dim) unless the model says otherwise
    ggml_type activations = GGML_TYPE_F32;
    ggml_tensor * gate_logits = nullptr;
    // The keys and values among k and v that nobody has looked at for NaN yet, all of them seen by all queries; null: k
    // and v, behind the mask.
    ggml_tensor * new_k = nullptr;
    ggml_tensor * new_v = nullptr;
};

// softmax(scale q k^T + mask) v -> [head_dim * heads, tokens].
//
// A query whose keys are all masked by minus infinity gets zeros: it attends to nothing. A query that is not finite,
// and one that sees a key or a value which is not, gets NaN; one from which a mask hides them may get NaN too, because
// a weight of zero times NaN is NaN.
//
// Where the graph's products are our own and `activations` is BF16, inputs (F32 or BF16) are rounded to it, the result
// is BF16 for further products, and `gate_logits` may be given (ops/attention). Elsewhere all is F32.
ggml_tensor * attend(Graph & graph, const HeadInputs & inputs);

}  // namespace ltx
