#include "kernels/vulkan/vulkan_op.h"
#include "ops/group_norm/group_norm.h"

namespace ltx {

namespace {

constexpr uint32_t kStatisticsWords[] = {
#include "shaders/group_statistics.spv"
};
constexpr uint32_t kWords[] = {
#include "shaders/group_norm_silu.spv"
};

bool are_dense_floats(std::initializer_list<const ggml_tensor *> tensors) {
    for (const ggml_tensor * tensor : tensors) {
        if (tensor && (tensor->type != GGML_TYPE_F32 || !ggml_is_contiguous(tensor))) {
            return false;
        }
    }
    return true;
}

bool supports_statistics(const ggml_tensor * node) {
    return are_dense_floats({node, node->src[0]});
}

void enqueue_statistics(const VulkanCall & call, const ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    call.run({"ltx_group_statistics", kStatisticsWords}, node->ne[1], {}, {x, node},
             {pushed(x->ne[0] / node->ne[1]), pushed(ggml_nrows(x)), pushed(x->ne[0]),
              pushed(constants_of<GroupNormConstants>(node).eps)});
}

bool supports(const ggml_tensor * node) {
    return are_dense_floats({node, node->src[0], node->src[1], node->src[2], node->src[3], node->src[4]});
}

void enqueue(const VulkanCall & call, const ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * statistics = node->src[1];
    const ggml_tensor * residual = node->src[4];
    call.run({"ltx_group_norm_silu", kWords}, ggml_nrows(node), {residual != nullptr},
             {x, statistics, node->src[2], node->src[3], residual ? residual : x, node},
             {pushed(node->ne[0]), pushed(node->ne[0] / statistics->ne[1])});
}

}  // namespace

extern const VulkanOp kGroupStatisticsVulkan{&group_statistics_cpu, &supports_statistics, &enqueue_statistics};
extern const VulkanOp kGroupNormSiluVulkan{&group_norm_silu_cpu, &supports, &enqueue};

}  // namespace ltx
