#include "kernels/vulkan/vulkan_op.h"
#include "ops/split_rope/split_rope.h"

namespace ltx {

namespace {

constexpr uint32_t kWords[] = {
#include "shaders/norm_split_rope.spv"
};

bool supports(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1], node->src[2], node->src[3]}) &&
           have_rows(GGML_TYPE_I32, {node->src[4]}) && is_shader_result(node);
}

void enqueue(const VulkanCall & call, const ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * weight = node->src[1];
    const bool rotates = node->src[2] != nullptr;
    const ggml_tensor * cos = rotates ? node->src[2] : x;
    const ggml_tensor * sin = rotates ? node->src[3] : x;
    const ggml_tensor * rows = node->src[4];
    call.run({"ltx_norm_split_rope", kWords}, x->ne[1], {rotates, node->type == GGML_TYPE_BF16},
             {x, weight, cos, sin, rows ? rows : x, node},
             {pushed(x->ne[0]), pushed(node->ne[0] / 2), step(x, 1), step(cos, 1), step(sin, 1), pushed(cos->ne[1]),
              rows ? pushed(rows->ne[1]) : 0, rows ? step(rows, 1) : 0,
              pushed(constants_of<NormSplitRopeConstants>(node).eps)});
}

}  // namespace

extern const VulkanOp kNormSplitRopeVulkan{&norm_split_rope_cpu, &supports, &enqueue};

}  // namespace ltx
