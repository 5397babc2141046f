// gelu(x + bias) in the tanh form, exact in F32 (ggml's CPU operation looks values up in an F16 table).
#pragma once

#include "kernels/custom.h"

namespace ltx {

// x: F32 [width, tokens]. bias: F32 [width] or null. Result: F32 [width, tokens].
// Throws ShapeError for other layouts; rows of x may lie apart.
ggml_tensor * bias_gelu(Graph & graph, ggml_tensor * x, ggml_tensor * bias);

// Sources: x, then the bias if there is one. No constants.
void bias_gelu_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
