#include "kernels/vulkan/vulkan_op.h"
#include "ops/conv3d/conv3d.h"

namespace ltx {

namespace {

constexpr uint32_t kWords[] = {
#include "shaders/conv3d_finish.spv"
};

bool supports(const ggml_tensor * node) {
    const FramePieces residual = pieces_of(node, 2, constants_of<ConvFinishConstants>(node).residual);
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1], residual.earlier, residual.frames}) &&
           ggml_is_contiguous(node->src[0]) && node->type == GGML_TYPE_F32 && ggml_is_contiguous(node);
}

void enqueue(const VulkanCall & call, const ggml_tensor * node) {
    const auto constants = constants_of<ConvFinishConstants>(node);
    const ggml_tensor * sums = node->src[0];
    const FramePieces residual = pieces_of(node, 2, constants.residual);
    const ggml_tensor * earlier = residual.earlier ? residual.earlier : sums;
    const ggml_tensor * later = residual.frames ? residual.frames : sums;
    call.run({"ltx_conv3d_finish", kWords}, ggml_nrows(node), {residual.earlier || residual.frames},
             {sums, node->src[1], earlier, later, node},
             {pushed(node->ne[0]), pushed(node->ne[1]), pushed(node->ne[2]), pushed(int64_t{constants.padded_width}),
              pushed(int64_t{constants.padded_height}), pushed(frame_count(residual.earlier)), step(earlier, 1),
              step(earlier, 2), step(earlier, 3), step(later, 1), step(later, 2), step(later, 3)});
}

}  // namespace

extern const VulkanOp kConv3dFinishVulkan{&conv3d_finish_cpu, &supports, &enqueue};

}  // namespace ltx
