#include "kernels/vulkan/vulkan_op.h"
#include "ops/pad/pad.h"

namespace ltx {

namespace {

constexpr uint32_t kWords[] = {
#include "shaders/pad_frames.spv"
};

bool supports(const ggml_tensor * node) {
    const auto constants = constants_of<PadConstants>(node);
    const FramePieces pieces = pieces_of(node, 0, constants.pieces);
    const ggml_type earlier_type = constants.earlier_is_padded ? node->type : GGML_TYPE_F32;
    return (pieces.earlier || pieces.frames) && have_rows(earlier_type, {pieces.earlier}) &&
           have_rows(GGML_TYPE_F32, {pieces.frames}) && is_shader_result(node);
}

void enqueue(const VulkanCall & call, const ggml_tensor * node) {
    const auto constants = constants_of<PadConstants>(node);
    const FramePieces pieces = pieces_of(node, 0, constants.pieces);
    const ggml_tensor * earlier = pieces.earlier ? pieces.earlier : pieces.frames;
    const ggml_tensor * later = pieces.frames ? pieces.frames : pieces.earlier;
    call.run({"ltx_pad_frames", kWords}, ggml_nrows(node),
             {node->type == GGML_TYPE_BF16, constants.spatial == SpatialPad::Reflect,
              constants.temporal == TemporalPad::Zeros, static_cast<uint32_t>(constants.norm_silu),
              static_cast<uint32_t>(constants.earlier_is_padded)},
             {earlier, later, node},
             {pushed(node->ne[1]), pushed(node->ne[2]), pushed(node->ne[0]), pushed(later->ne[0]),
              pushed(frame_count(pieces)), pushed(frame_count(pieces.earlier)), pushed(int64_t{constants.front}),
              step(earlier, 1), step(earlier, 2), step(earlier, 3), step(later, 1), step(later, 2), step(later, 3),
              pushed(constants.eps)});
}

}  // namespace

extern const VulkanOp kPadFramesVulkan{&pad_frames_cpu, &supports, &enqueue};

}  // namespace ltx
