#include "nn/linear.h"

namespace ltx {

Linear Linear::load(const Scope & scope, int64_t in, int64_t out, bool with_bias) {
    return {scope.require("weight", {out, in}, WeightKind::Matrix),
            with_bias ? scope.require("bias", {out}, WeightKind::Vector) : nullptr};
}

ggml_tensor * Linear::build_product(Graph & graph, ggml_tensor * x) const {
    return ggml_mul_mat(graph.ctx(), weight, x);
}

ggml_tensor * Linear::build(Graph & graph, ggml_tensor * x) const {
    ggml_tensor * y = build_product(graph, x);
    return bias ? ggml_add(graph.ctx(), y, bias) : y;
}

}  // namespace ltx
