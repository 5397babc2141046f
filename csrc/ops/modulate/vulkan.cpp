#include <algorithm>

#include "kernels/vulkan/vulkan_op.h"
#include "ops/modulate/modulate.h"

namespace ltx {

namespace {

constexpr uint32_t kWords[] = {
#include "shaders/modulate.spv"
};

bool supports(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1], node->src[2]}) &&
           have_rows(GGML_TYPE_I32, {node->src[3]}) && is_shader_result(node) && node->ne[0] == node->src[0]->ne[0];
}

void enqueue(const VulkanCall & call, const ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * scale = node->src[1];
    const ggml_tensor * shift = node->src[2];
    const ggml_tensor * rows = node->src[3];
    const auto constants = constants_of<ModulateConstants>(node);
    call.run({"ltx_modulate", kWords}, node->ne[1],
             {static_cast<uint32_t>(constants.norm), node->type == GGML_TYPE_BF16},
             {x, scale, shift, rows ? rows : x, node},
             {pushed(x->ne[0]), step(x, 1), step(scale, 1), step(shift, 1), rows != nullptr,
              pushed(std::min(scale->ne[1], shift->ne[1])), pushed(constants.eps)});
}

}  // namespace

extern const VulkanOp kModulateVulkan{&modulate_cpu, &supports, &enqueue};

}  // namespace ltx
