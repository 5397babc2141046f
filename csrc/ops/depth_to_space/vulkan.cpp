#include "kernels/vulkan/vulkan_op.h"
#include "ops/depth_to_space/depth_to_space.h"

namespace ltx {

namespace {

constexpr uint32_t kWords[] = {
#include "shaders/depth_to_space.spv"
};
constexpr uint32_t kPackingWords[] = {
#include "shaders/space_to_depth.spv"
};

// Of the shader: all neighbours of a channel have room there.
constexpr int64_t kStage = 2048;

bool supports(const ggml_tensor * node) {
    const auto constants = constants_of<DepthToSpaceConstants>(node);
    const FramePieces shortcut = pieces_of(node, 1, constants.shortcut);
    return have_rows(GGML_TYPE_F32, {node->src[0], shortcut.earlier, shortcut.frames}) && node->type == GGML_TYPE_F32 &&
           ggml_is_contiguous(node) && constants.factor.product() <= kStage;
}

void enqueue(const VulkanCall & call, const ggml_tensor * node) {
    const auto constants = constants_of<DepthToSpaceConstants>(node);
    const SpaceTimeFactor factor = constants.factor;
    const ggml_tensor * x = node->src[0];
    const FramePieces shortcut = pieces_of(node, 1, constants.shortcut);
    const ggml_tensor * any = shortcut.frames ? shortcut.frames : shortcut.earlier;
    const ggml_tensor * earlier = shortcut.earlier ? shortcut.earlier : x;
    const ggml_tensor * later = shortcut.frames ? shortcut.frames : x;
    call.run({"ltx_depth_to_space", kWords}, ggml_nrows(x),
             {constants.packing == Packing::HeightFastest, any != nullptr}, {x, earlier, later, node},
             {pushed(x->ne[1]),
              pushed(x->ne[2]),
              step(x, 1),
              step(x, 2),
              step(x, 3),
              pushed(node->ne[1]),
              pushed(node->ne[2]),
              pushed(node->ne[0]),
              pushed(int64_t{factor.time}),
              pushed(int64_t{factor.height}),
              pushed(int64_t{factor.width}),
              pushed(int64_t{constants.drop_first}),
              pushed(frame_count(shortcut.earlier)),
              any ? pushed(any->ne[0] / factor.product()) : 1,
              step(earlier, 1),
              step(earlier, 2),
              step(earlier, 3),
              step(later, 1),
              step(later, 2),
              step(later, 3)});
}

bool supports_packing(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1]}) && node->type == GGML_TYPE_F32 &&
           ggml_is_contiguous(node);
}

void enqueue_packing(const VulkanCall & call, const ggml_tensor * node) {
    const auto constants = constants_of<SpaceToDepthConstants>(node);
    const SpaceTimeFactor factor = constants.factor;
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * shortcut = node->src[1];
    const ggml_tensor * added = shortcut ? shortcut : x;
    call.run({"ltx_space_to_depth", kPackingWords}, ggml_nrows(node),
             {constants.packing == Packing::HeightFastest, shortcut != nullptr}, {x, added, node},
             {step(x, 1), step(x, 2), step(x, 3), pushed(node->ne[1]), pushed(node->ne[2]), pushed(node->ne[0]),
              pushed(int64_t{factor.time}), pushed(int64_t{factor.height}), pushed(int64_t{factor.width}),
              shortcut ? pushed(shortcut->ne[0] * factor.product() / node->ne[0]) : 0, pushed(int64_t{constants.lead}),
              step(added, 1), step(added, 2), step(added, 3)});
}

}  // namespace

extern const VulkanOp kDepthToSpaceVulkan{&depth_to_space_cpu, &supports, &enqueue};
extern const VulkanOp kSpaceToDepthVulkan{&space_to_depth_cpu, &supports_packing, &enqueue_packing};

}  // namespace ltx
