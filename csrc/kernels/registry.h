// The list of own operations, by which a device other than the CPU recognises custom nodes.
#pragma once

#include <span>
#include <string_view>

#include "kernels/custom.h"

namespace ltx {

// A device's function for custom nodes reads the CPU kernel out of a node, finds it here and picks its own kernel by
// name; a name it does not know it answers with "cannot", and the graph is built from stock operations instead
// (Runner::prepare). Constants and sources are as the operation's header says.
struct CustomOp {
    std::string_view name;
    CustomKernel cpu;
};

std::span<const CustomOp> custom_ops();

// The operation of a custom node; null for a node that is not ours.
const CustomOp * custom_op_of(const ggml_tensor * node);

}  // namespace ltx
