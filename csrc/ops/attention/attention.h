// Attention with BF16 products and F32 softmax and sums on the CPU's matrix instructions.
#pragma once

#include "kernels/custom.h"

namespace ltx {

// q: BF16 [head_dim, heads, tokens]; k, v: BF16 [head_dim, heads or a divisor of it, context_tokens]; heads lie one
// after the other, tokens may lie apart. mask: F16 [context_tokens, tokens], added to the logits, or null. gate_logits:
// F32 [heads, tokens] or null; each head's result is multiplied by 2 sigmoid(gate).
// -> softmax(scale q k^T + mask) v as BF16 [head_dim * heads, tokens], rows apart as products read them fastest.
//
// Keys pass by in blocks (Dao et al., 2022, FlashAttention), so no matrix of all logits is made. A query whose keys are
// all masked gets zeros; what is not finite shows as in nn/attention.h.
//
// Only for graphs with own products; nn/attention.h has the composed form. Throws ShapeError.
ggml_tensor * bf16_attention(Graph & graph, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, ggml_tensor * mask,
                             ggml_tensor * gate_logits, float scale);

struct AttentionConstants {
    float scale;
    int32_t has_mask;
    int32_t has_gate;
};

// The sources of a node by name; mask and gate logits are null where there are none.
struct AttentionSources {
    const ggml_tensor * q;
    const ggml_tensor * k;
    const ggml_tensor * v;
    const ggml_tensor * mask;
    const ggml_tensor * gate;
};

inline AttentionSources attention_sources(const ggml_tensor * node) {
    const auto constants = constants_of<AttentionConstants>(node);
    OptionalSources optional(node, 3);
    return {.q = node->src[0],
            .k = node->src[1],
            .v = node->src[2],
            .mask = optional.take(constants.has_mask),
            .gate = optional.take(constants.has_gate)};
}

// Sources as above.
void bf16_attention_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
