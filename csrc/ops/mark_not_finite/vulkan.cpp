#include "kernels/vulkan/vulkan_op.h"
#include "ops/mark_not_finite/mark_not_finite.h"

namespace ltx {

namespace {

constexpr uint32_t kKeyWords[] = {
#include "shaders/key_flags.spv"
};
constexpr uint32_t kRowWords[] = {
#include "shaders/mark_rows.spv"
};

bool supports_keys(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1]});
}

void enqueue_keys(const VulkanCall & call, const ggml_tensor * node) {
    const ggml_tensor * k = node->src[0];
    const ggml_tensor * v = node->src[1];
    call.run({"ltx_key_flags", kKeyWords}, ggml_nelements(node), {}, {k, v, node},
             {pushed(k->ne[0]), pushed(k->ne[1]), pushed(k->ne[2]), step(k, 1), step(k, 2), step(v, 1), step(v, 2)});
}

bool supports_rows(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1], node->src[2]}) && ggml_is_contiguous(node->src[0]);
}

void enqueue_rows(const VulkanCall & call, const ggml_tensor * node) {
    const ggml_tensor * q = node->src[1];
    const ggml_tensor * seen = node->src[2];
    call.run({"ltx_mark_rows", kRowWords}, node->ne[1] * node->ne[2], {}, {node, q, seen},
             {pushed(node->ne[0]), pushed(node->ne[1]), step(q, 1), step(q, 2), pushed(node->ne[1] / seen->ne[0]),
              seen->ne[1] == 1 ? 0 : step(seen, 1)});
}

}  // namespace

extern const VulkanOp kKeyFlagsVulkan{&key_flags_cpu, &supports_keys, &enqueue_keys};
extern const VulkanOp kMarkRowsVulkan{&mark_rows_cpu, &supports_rows, &enqueue_rows};

}  // namespace ltx
