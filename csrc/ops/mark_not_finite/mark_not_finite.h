// Attention results of inputs that are not finite, made NaN where an implementation may have lost them.
#pragma once

#include "kernels/custom.h"

namespace ltx {

struct AttentionOperands {
    ggml_tensor * q;     // F32 [head_dim, heads, tokens]
    ggml_tensor * k;     // F32 [head_dim, heads or a divisor of it, keys]
    ggml_tensor * v;     // the same
    ggml_tensor * mask;  // F16 [keys, tokens] or null
};

// result: F32 [head_dim, heads, tokens], changed in place unless the operation is composed -> the same, NaN in the rows
// whose query is not finite, and in those that see a key which is not, or whose value is not. A query does not see the
// keys for which its mask is minus infinity; its row stays as it is for them.
//
// A softmax alone does not do this: the largest logit is found by comparisons, which NaN passes, and a logit of minus
// infinity weighs nothing, whether a mask or an overflow made it.
ggml_tensor * mark_not_finite(Graph & graph, ggml_tensor * result, const AttentionOperands & operands);

// Sources: the result, q, k, v, and the mask if there is one.
void mark_not_finite_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

// On devices that find keys in parallel, two nodes in place of that one, with what is composed between them.

// 0 for each key of each head, NaN where the key or its value is not finite: F32 [keys, heads of k]. Sources: k, v.
void key_flags_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

// Sources: the result, q, and what queries see, F32 [heads of k, tokens], or one row for all: NaN for a key that is not
// finite.
void mark_rows_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

// Minus infinity as F16: what a mask hides.
inline constexpr uint16_t kMaskedHalf = 0xfc00;

}  // namespace ltx
