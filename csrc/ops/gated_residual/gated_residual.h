// The residual add of a modulated branch: x + branch * gate[row], with a gate row per token.
#pragma once

#include "kernels/custom.h"

namespace ltx {

// x, branch: F32 [width, tokens]. gate: F32 [width, distinct]. rows: I32 [tokens], or null when one gate row rules all.
// Result: F32 [width, tokens]. Throws ShapeError for other layouts; rows of each may lie apart.
ggml_tensor * gated_residual(Graph & graph, ggml_tensor * x, ggml_tensor * branch, ggml_tensor * gate,
                             ggml_tensor * rows);

// Sources: x, branch, gate, then rows if there are any. No constants.
void gated_residual_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
