#include "kernels/vulkan/vulkan_op.h"
#include "ops/bias_gelu/bias_gelu.h"

namespace ltx {

namespace {

constexpr uint32_t kWords[] = {
#include "shaders/bias_gelu.spv"
};

bool supports(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1]}) && node->type == GGML_TYPE_F32 &&
           ggml_is_contiguous(node);
}

void enqueue(const VulkanCall & call, const ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * bias = node->src[1];
    call.run({"ltx_bias_gelu", kWords}, node->ne[1], {}, {x, bias ? bias : x, node},
             {pushed(node->ne[0]), step(x, 1), bias != nullptr});
}

}  // namespace

extern const VulkanOp kBiasGeluVulkan{&bias_gelu_cpu, &supports, &enqueue};

}  // namespace ltx
