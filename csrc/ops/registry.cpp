#include "ops/registry.h"

#include <array>

#include "ops/bias_gelu/bias_gelu.h"
#include "ops/gated_residual/gated_residual.h"
#include "ops/modulate/modulate.h"
#include "ops/split_rope/split_rope.h"

namespace ltx {

namespace {

constexpr std::array kOps{
    CustomOp{"bias_gelu", &bias_gelu_cpu},
    CustomOp{"gated_residual", &gated_residual_cpu},
    CustomOp{"modulate", &modulate_cpu},
    CustomOp{"norm_split_rope", &norm_split_rope_cpu},
};

}  // namespace

std::span<const CustomOp> custom_ops() {
    return kOps;
}

const CustomOp * custom_op_of(const ggml_tensor * node) {
    if (node->op != GGML_OP_CUSTOM) {
        return nullptr;
    }
    CustomKernel kernel = nullptr;
    std::memcpy(&kernel, node->op_params, sizeof(kernel));
    for (const CustomOp & op : kOps) {
        if (op.cpu == kernel) {
            return &op;
        }
    }
    return nullptr;
}

}  // namespace ltx
