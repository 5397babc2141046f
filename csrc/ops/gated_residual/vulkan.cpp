#include "kernels/vulkan/vulkan_op.h"
#include "ops/gated_residual/gated_residual.h"

namespace ltx {

namespace {

constexpr uint32_t kWords[] = {
#include "shaders/gated_residual.spv"
};

bool supports(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1], node->src[2]}) &&
           have_rows(GGML_TYPE_I32, {node->src[3]}) && node->type == GGML_TYPE_F32 && ggml_is_contiguous(node);
}

void enqueue(const VulkanCall & call, const ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * branch = node->src[1];
    const ggml_tensor * gate = node->src[2];
    const ggml_tensor * rows = node->src[3];
    call.run({"ltx_gated_residual", kWords}, node->ne[1], {}, {x, branch, gate, rows ? rows : x, node},
             {pushed(node->ne[0]), step(x, 1), step(branch, 1), step(gate, 1), rows != nullptr, pushed(gate->ne[1])});
}

}  // namespace

extern const VulkanOp kGatedResidualVulkan{&gated_residual_cpu, &supports, &enqueue};

}  // namespace ltx
