#include <algorithm>
#include <array>
#include <vector>

#include "kernels/registry.h"
#include "kernels/vulkan/vulkan_op.h"

namespace ltx {

extern const VulkanOp kAntialiasedSnakeVulkan;
extern const VulkanOp kBiasGeluVulkan;
extern const VulkanOp kConv3dFinishVulkan;
extern const VulkanOp kDepthToSpaceVulkan;
extern const VulkanOp kGatedResidualVulkan;
extern const VulkanOp kGroupNormSiluVulkan;
extern const VulkanOp kGroupStatisticsVulkan;
extern const VulkanOp kKeyFlagsVulkan;
extern const VulkanOp kMarkRowsVulkan;
extern const VulkanOp kModulateVulkan;
extern const VulkanOp kNormGridRopeVulkan;
extern const VulkanOp kNormSplitRopeVulkan;
extern const VulkanOp kPadFramesVulkan;
extern const VulkanOp kPixelNormSiluVulkan;
extern const VulkanOp kSpaceToDepthVulkan;

namespace {

constexpr std::array kOps{
    &kAntialiasedSnakeVulkan, &kBiasGeluVulkan,      &kConv3dFinishVulkan,    &kDepthToSpaceVulkan,
    &kGatedResidualVulkan,    &kGroupNormSiluVulkan, &kGroupStatisticsVulkan, &kKeyFlagsVulkan,
    &kMarkRowsVulkan,         &kModulateVulkan,      &kNormGridRopeVulkan,    &kSpaceToDepthVulkan,
    &kNormSplitRopeVulkan,    &kPadFramesVulkan,     &kPixelNormSiluVulkan,
};

// Groups along one axis that every device takes.
constexpr int64_t kMostGroups = 65535;

const VulkanOp * op_of(CustomKernel kernel) {
    const auto found = std::ranges::find_if(kOps, [&](const VulkanOp * op) { return op->cpu == kernel; });
    return found == kOps.end() ? nullptr : *found;
}

// Shaders count elements in 32 bits.
bool is_countable(const ggml_tensor * tensor) {
    return !tensor || ggml_nbytes(tensor) / ggml_type_size(tensor->type) <= INT32_MAX;
}

}  // namespace

void VulkanCall::run(const Shader & shader, int64_t rows, std::initializer_list<uint32_t> constants,
                     std::initializer_list<const ggml_tensor *> tensors, std::initializer_list<uint32_t> values) const {
    if (rows == 0) {
        return;
    }
    const int64_t across = std::min(rows, kMostGroups);
    const int64_t down = (rows + across - 1) / across;
    std::vector<uint32_t> push{pushed(rows)};
    push.insert(push.end(), values);
    const VulkanDispatch dispatch{
        shader.name,
        shader.words.data(),
        shader.words.size(),
        constants.begin(),
        static_cast<uint32_t>(constants.size()),
        tensors.begin(),
        static_cast<uint32_t>(tensors.size()),
        push.data(),
        static_cast<uint32_t>(push.size()),
        {static_cast<uint32_t>(across), static_cast<uint32_t>(down), 1},
    };
    enqueue_(call_, &dispatch);
}

bool run_vulkan_op(void * call, VulkanEnqueue enqueue, ggml_tensor * node) {
    const VulkanOp * op = op_of(kernel_of(node));
    if (!op || !is_countable(node) || !std::ranges::all_of(node->src, is_countable) || !op->supports(node)) {
        return false;
    }
    if (call) {
        op->launch(VulkanCall(call, enqueue), node);
    }
    return true;
}

std::set<std::string, std::less<>> ops_without_shader() {
    std::set<std::string, std::less<>> names;
    for (const CustomOp & op : custom_ops()) {
        if (!op_of(op.cpu)) {
            names.emplace(op.name);
        }
    }
    return names;
}

bool have_rows(ggml_type type, std::initializer_list<const ggml_tensor *> tensors) {
    return std::ranges::all_of(tensors, [type](const ggml_tensor * tensor) {
        return !tensor || (tensor->type == type && (tensor->nb[0] == ggml_type_size(type) || tensor->ne[0] == 1));
    });
}

}  // namespace ltx
