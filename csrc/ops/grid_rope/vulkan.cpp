#include <algorithm>

#include "kernels/vulkan/vulkan_op.h"
#include "ops/grid_rope/grid_rope.h"

namespace ltx {

namespace {

constexpr uint32_t kWords[] = {
#include "shaders/norm_grid_rope.spv"
};

// Of the shader: angles beyond lose digits.
constexpr int64_t kMostPlaces = 3000;

bool supports(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1], node->src[2]}) && ggml_is_contiguous(node->src[0]) &&
           std::max({node->ne[1], node->ne[2], node->ne[3]}) <= kMostPlaces;
}

void enqueue(const VulkanCall & call, const ggml_tensor * node) {
    const auto constants = constants_of<NormGridRopeConstants>(node);
    const int64_t head_dim = node->src[1]->ne[0];
    const int64_t channels = node->ne[0] / 3;
    const auto parts = grid_rope_parts(head_dim);
    call.run({"ltx_norm_grid_rope", kWords}, ggml_nrows(node) * (2 * channels / head_dim), {},
             {node, node->src[1], node->src[2]},
             {pushed(head_dim), pushed(channels), pushed(node->ne[1]), pushed(node->ne[2]), pushed(parts[0]),
              pushed(parts[1]), pushed(constants.scale), pushed(constants.eps)});
}

}  // namespace

extern const VulkanOp kNormGridRopeVulkan{&norm_grid_rope_cpu, &supports, &enqueue};

}  // namespace ltx
