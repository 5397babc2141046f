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
    const int64_t width = x->ne[0];
    const int64_t tokens = x->ne[1];
    expect_rows("gated_residual", "x", x, GGML_TYPE_F32, {width, tokens, 1, 1});
    expect_rows("gated_residual", "branch", branch, GGML_TYPE_F32, {width, tokens, 1, 1});
    expect_row_table("gated_residual", "gate", gate, rows, width, tokens);
    if (!graph.fuses("gated_residual")) {
        return gated_residual_composed(graph.ctx(), x, branch, gate, rows);
    }
    return custom_node(graph, GGML_TYPE_F32, {width, tokens, 1, 1}, {x, branch, gate, rows}, &gated_residual_cpu);
}

}  // namespace ltx
