// ggml's matrix product and attention as every network uses them: with sums in F32, and operands laid out as the device
// takes them.
#pragma once

#include "graph/graph.h"

namespace ltx {

// matrix: [in, out, ...]; x: [in, rows, ...] -> F32 [out, rows, ...]. By itself a GPU may add 16-bit and quantised
// weights up in F16, which ends at 65504.
ggml_tensor * product(Graph & graph, ggml_tensor * matrix, ggml_tensor * x);

// q: F32 [head_dim, rows, heads]; k, v: [head_dim, keys, kv_heads]; mask: F16 [keys, rows] or null
// -> F32 [head_dim, heads, rows]
ggml_tensor * attention_node(Graph & graph, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, ggml_tensor * mask,
                             float scale);

// Whether a device whose operands are aligned so takes those of a node: a product's wholly, attention's by where they
// begin. Other nodes may have any.
bool has_aligned_operands(const ggml_tensor * node, size_t alignment);

}  // namespace ltx
