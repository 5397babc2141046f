#include "kernels/vulkan/vulkan_op.h"
#include "ops/pixel_norm/pixel_norm.h"

namespace ltx {

namespace {

constexpr uint32_t kWords[] = {
#include "shaders/pixel_norm_silu.spv"
};

bool supports(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0]}) && node->type == GGML_TYPE_F32 && ggml_is_contiguous(node);
}

void enqueue(const VulkanCall & call, const ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    call.run({"ltx_pixel_norm_silu", kWords}, ggml_nrows(x), {}, {x, node},
             {pushed(x->ne[0]), pushed(x->ne[1]), pushed(x->ne[2]), step(x, 1), step(x, 2), step(x, 3),
              pushed(constants_of<PixelNormConstants>(node).eps)});
}

}  // namespace

extern const VulkanOp kPixelNormSiluVulkan{&pixel_norm_silu_cpu, &supports, &enqueue};

}  // namespace ltx
