#include "nn/linear.h"

#include "ops/bias_gelu/bias_gelu.h"
#include "ops/gated_residual/gated_residual.h"

namespace ltx {

Linear Linear::load(const Scope & scope, int64_t in, int64_t out, bool with_bias) {
    return {scope.require("weight", {out, in}, WeightKind::Matrix),
            with_bias ? scope.require("bias", {out}, WeightKind::Vector) : nullptr, scope.low_rank("weight")};
}

ggml_tensor * Linear::build(Graph & graph, ggml_tensor * x, LinearEpilogue epilogue) const {
    epilogue.bias = bias;
    if (!low_rank) {
        return linear(graph, weight, x, epilogue);
    }
    ggml_context * ctx = graph.ctx();
    ggml_tensor * thin = linear(graph, low_rank->down, x);  // ne: [rank, tokens]
    ggml_tensor * y = linear(graph, weight, x, {.residual = linear(graph, low_rank->up, thin)});
    if (epilogue.gelu) {
        y = bias_gelu(graph, y, bias);
    } else if (bias) {
        y = ggml_add(ctx, y, bias);
    }
    if (epilogue.gate) {
        return gated_residual(graph, epilogue.residual, y, epilogue.gate, epilogue.gate_rows);
    }
    return epilogue.residual ? ggml_add(ctx, epilogue.residual, y) : y;
}

}  // namespace ltx
