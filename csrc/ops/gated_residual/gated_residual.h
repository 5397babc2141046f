// The residual add of a modulated branch: x + branch * gate[row], with a gate row per token.
#pragma once

#include "graph/graph.h"

namespace ltx {

// x, branch: F32 [width, tokens]. gate: F32 [width, distinct]. rows: I32 [tokens], or null when one gate row rules all.
// Result: F32 [width, tokens].
ggml_tensor * gated_residual(Graph & graph, ggml_tensor * x, ggml_tensor * branch, ggml_tensor * gate,
                             ggml_tensor * rows);

}  // namespace ltx
