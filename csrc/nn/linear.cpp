#include "nn/linear.h"

namespace ltx {

Linear Linear::load(const Scope & scope, int64_t in, int64_t out, bool with_bias) {
    return {scope.require("weight", {out, in}, WeightKind::Matrix),
            with_bias ? scope.require("bias", {out}, WeightKind::Vector) : nullptr, scope.low_rank("weight"),
            scope.rotated_rows("weight")};
}

Linear Linear::outputs(Graph & graph, int64_t first, int64_t count) const {
    const auto rows = [&](ggml_tensor * matrix) {
        return ggml_view_2d(graph.ctx(), matrix, matrix->ne[0], count, matrix->nb[1],
                            static_cast<size_t>(first) * matrix->nb[1]);
    };
    const auto values = [&](ggml_tensor * vector) {
        return ggml_view_1d(graph.ctx(), vector, count, static_cast<size_t>(first) * vector->nb[0]);
    };
    Linear part = *this;
    part.weight = rows(weight);
    if (bias) {
        part.bias = values(bias);
    }
    if (low_rank) {
        part.low_rank->up = rows(low_rank->up);
    }
    if (rotated) {
        part.rotated->scales = values(rotated->scales);
    }
    return part;
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
