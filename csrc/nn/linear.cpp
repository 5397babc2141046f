#include "nn/linear.h"

namespace ltx {

Linear Linear::load(const Scope & scope, int64_t in, int64_t out, bool with_bias) {
    return {scope.require("weight", {out, in}, WeightKind::Matrix),
            with_bias ? scope.require("bias", {out}, WeightKind::Vector) : nullptr, scope.low_rank("weight"),
            scope.rotated_rows("weight")};
}

ggml_tensor * Linear::build(Graph & graph, ggml_tensor * x, LinearEpilogue epilogue) const {
    epilogue.bias = bias;
    if (!low_rank) {
        return product(graph, x, epilogue);
    }
    ggml_tensor * thin = linear(graph, low_rank->down, x);  // ne: [rank, tokens]
    ggml_tensor * y = product(graph, x, {.residual = linear(graph, low_rank->up, thin)});
    return apply_epilogue(graph, y, epilogue);
}

ggml_tensor * Linear::product(Graph & graph, ggml_tensor * x, const LinearEpilogue & epilogue) const {
    return weight->type == GGML_TYPE_I8 ? int8_linear(graph, weight, *rotated, x, epilogue)
                                        : linear(graph, weight, x, epilogue);
}

}  // namespace ltx
