// gelu(x + bias) in the tanh form, exact in F32 (ggml's CPU operation looks values up in an F16 table).
#pragma once

#include "graph/graph.h"

namespace ltx {

// x: F32 [width, tokens]. bias: F32 [width] or null. Result: F32 [width, tokens].
ggml_tensor * bias_gelu(Graph & graph, ggml_tensor * x, ggml_tensor * bias);

}  // namespace ltx
