// Normalise, scale and shift: norm(x) * (1 + scale[row]) + shift[row], with a row of scale and shift per token.
#pragma once

#include "graph/graph.h"

namespace ltx {

enum class NormKind {
    None,   // x as it is
    Rms,    // x / sqrt(mean(x^2) + eps)
    Layer,  // (x - mean) / sqrt(var + eps)
};

// x: F32 [width, tokens], rows contiguous. scale, shift: F32 [width, distinct], a row per distinct timestep.
// rows: I32 [tokens], which of the distinct rows each token takes; null when there is one for all.
// Result: F32 [width, tokens].
ggml_tensor * modulate(Graph & graph, ggml_tensor * x, ggml_tensor * scale, ggml_tensor * shift, ggml_tensor * rows,
                       NormKind norm, float eps);

}  // namespace ltx
