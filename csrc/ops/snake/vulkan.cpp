#include "kernels/vulkan/vulkan_op.h"
#include "ops/snake/snake.h"

namespace ltx {

namespace {

constexpr uint32_t kWords[] = {
#include "shaders/antialiased_snake.spv"
};

// Of the shader: what a group computes.
constexpr int64_t kChannels = 32;
constexpr int64_t kRows = 32;

bool supports(const ggml_tensor * node) {
    for (int i = 0; i < 5; ++i) {
        if (node->src[i]->type != GGML_TYPE_F32 || !ggml_is_contiguous(node->src[i])) {
            return false;
        }
    }
    return node->type == GGML_TYPE_F32 && ggml_is_contiguous(node);
}

void enqueue(const VulkanCall & call, const ggml_tensor * node) {
    const int64_t blocks = (node->ne[0] + kChannels - 1) / kChannels;
    call.run({"ltx_antialiased_snake", kWords}, blocks * ((node->ne[1] + kRows - 1) / kRows), {},
             {node->src[0], node->src[1], node->src[2], node->src[3], node->src[4], node},
             {pushed(node->ne[0]), pushed(blocks), pushed(node->ne[1])});
}

}  // namespace

extern const VulkanOp kAntialiasedSnakeVulkan{&antialiased_snake_cpu, &supports, &enqueue};

}  // namespace ltx
