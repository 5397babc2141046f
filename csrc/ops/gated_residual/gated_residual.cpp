#include "ops/gated_residual/gated_residual.h"

namespace ltx {

namespace {

// The definition of the result, from stock operations.
ggml_tensor * gated_residual_composed(ggml_context * ctx, ggml_tensor * x, ggml_tensor * branch, ggml_tensor * gate,
                                      ggml_tensor * rows) {
    if (rows) {
        gate = ggml_get_rows(ctx, gate, rows);  // ne: [width, tokens]
    }
    return ggml_add(ctx, x, ggml_mul(ctx, branch, gate));  // ne: [width, tokens]
}

}  // namespace

ggml_tensor * gated_residual(Graph & graph, ggml_tensor * x, ggml_tensor * branch, ggml_tensor * gate,
                             ggml_tensor * rows) {
    return gated_residual_composed(graph.ctx(), x, branch, gate, rows);
}

}  // namespace ltx
