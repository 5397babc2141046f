// How an own operation runs on Vulkan: what its vulkan.cpp defines and what ggml's hook calls.
#pragma once

#include <bit>
#include <initializer_list>
#include <set>
#include <span>
#include <string>

#include "kernels/custom.h"

namespace ltx {

// As third_party/ggml/patch_ggml.py has it.
struct VulkanDispatch {
    const char * name;
    const uint32_t * words;
    size_t word_count;
    const uint32_t * constants;
    uint32_t constant_count;
    const ggml_tensor * const * tensors;
    uint32_t tensor_count;
    const uint32_t * push;
    uint32_t push_count;
    uint32_t groups[3];
};
using VulkanEnqueue = void (*)(void * call, const VulkanDispatch * dispatch);

// What a shader is given besides tensors: it sees where each of kVulkanBindings tensors begins within what is bound, in
// elements, and behind that `values`. 128 bytes in all, which every device takes.
inline constexpr size_t kVulkanBindings = 6;
inline constexpr size_t kPushedValues = 26;

// A program that glslc made of ops/NAME/NAME.comp.
struct Shader {
    const char * name;
    std::span<const uint32_t> words;
};

// The command buffer in recording.
class VulkanCall {
public:
    VulkanCall(void * call, VulkanEnqueue enqueue) : call_(call), enqueue_(enqueue) {}

    // Enqueues a group of threads per row. `constants` are those of the specialisation, from number 0 on; `tensors` are
    // bound in this order. Nothing is enqueued for no rows. What the driver throws goes on to whoever computes.
    void run(const Shader & shader, int64_t rows, std::initializer_list<uint32_t> constants,
             std::initializer_list<const ggml_tensor *> tensors, std::initializer_list<uint32_t> values) const;

private:
    void * call_;
    VulkanEnqueue enqueue_;
};

struct VulkanOp {
    CustomKernel cpu;  // the operation's identity
    // Whether `launch` computes this node, of which every tensor fits into 32-bit indices; where not, the graph is
    // built from stock operations.
    bool (*supports)(const ggml_tensor * node);
    void (*launch)(const VulkanCall & call, const ggml_tensor * node);
};

// The function for ggml's hook: with a call it enqueues the node, without one it says whether it would.
bool run_vulkan_op(void * call, VulkanEnqueue enqueue, ggml_tensor * node);

// Names of the operations that have no shader.
std::set<std::string, std::less<>> ops_without_shader();

// Whether the elements of a row lie next to each other in all these tensors, null ones aside.
bool have_rows(ggml_type type, std::initializer_list<const ggml_tensor *> tensors);

// What a result may be: F32, or BF16 where it is rounded for products.
inline bool is_shader_result(const ggml_tensor * node) {
    return (node->type == GGML_TYPE_F32 || node->type == GGML_TYPE_BF16) && ggml_is_contiguous(node);
}

// Numbers as a shader gets them.
inline uint32_t pushed(int64_t value) {
    return static_cast<uint32_t>(value);
}
inline uint32_t pushed(float value) {
    return std::bit_cast<uint32_t>(value);
}

// Elements between neighbours along an axis.
inline uint32_t step(const ggml_tensor * tensor, int axis) {
    return static_cast<uint32_t>(tensor->nb[axis] / ggml_type_size(tensor->type));
}

}  // namespace ltx
