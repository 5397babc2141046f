// Nodes of our own operations. The CPU function is the operation's identity: a device's dispatch maps it to a kernel.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>
#include <type_traits>

#include "ggml.h"

namespace ltx {

// ggml keeps the function, the task count and a pointer in the first bytes of op_params; the rest is free, and part of
// what devices compare before they reuse a captured graph. Constants therefore live there, never behind the pointer.
inline constexpr size_t kCustomParamsOffset = 24;

// Makes a node of shape `ne` over `sources` (null entries keep the places of absent inputs).
template <typename Params>
ggml_tensor * custom_node(ggml_context * ctx, ggml_type type, const std::array<int64_t, 4> & ne,
                          std::initializer_list<ggml_tensor *> sources, ggml_custom_op_t kernel, const Params & params) {
    static_assert(std::is_trivially_copyable_v<Params>);
    static_assert(sizeof(Params) <= GGML_MAX_OP_PARAMS - kCustomParamsOffset);
    std::array<ggml_tensor *, GGML_MAX_SRC> arguments{};
    std::copy(sources.begin(), sources.end(), arguments.begin());
    ggml_tensor * node = ggml_custom_4d(ctx, type, ne[0], ne[1], ne[2], ne[3], arguments.data(),
                                        static_cast<int>(sources.size()), kernel, GGML_N_TASKS_MAX, nullptr);
    std::memcpy(reinterpret_cast<char *>(node->op_params) + kCustomParamsOffset, &params, sizeof(Params));
    return node;
}

template <typename Params>
Params custom_params(const ggml_tensor * node) {
    Params params;
    std::memcpy(&params, reinterpret_cast<const char *>(node->op_params) + kCustomParamsOffset, sizeof(Params));
    return params;
}

}  // namespace ltx
