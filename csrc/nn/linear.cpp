#include "nn/linear.h"

namespace ltx {

Linear Linear::load(const Scope & scope, int64_t in, int64_t out, bool with_bias) {
    return {scope.require("weight", {out, in}, WeightKind::Matrix),
            with_bias ? scope.require("bias", {out}, WeightKind::Vector) : nullptr, scope.low_rank("weight")};
}

ggml_tensor * Linear::build_product(Graph & graph, ggml_tensor * x) const {
    ggml_context * ctx = graph.ctx();
    ggml_tensor * y = ggml_mul_mat(ctx, weight, x);
    if (low_rank) {
        ggml_tensor * thin = ggml_mul_mat(ctx, low_rank->down, x);  // ne: [rank, tokens]
        y = ggml_add(ctx, y, ggml_mul_mat(ctx, low_rank->up, thin));
    }
    return y;
}

ggml_tensor * Linear::build(Graph & graph, ggml_tensor * x) const {
    ggml_tensor * y = build_product(graph, x);
    return bias ? ggml_add(graph.ctx(), y, bias) : y;
}

}  // namespace ltx
