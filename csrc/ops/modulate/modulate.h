// Normalise, scale and shift: norm(x) * (1 + scale[row]) + shift[row], with a row of scale and shift per token.
#pragma once

#include "kernels/custom.h"

namespace ltx {

enum class NormKind : int32_t {
    None,   // x as it is
    Rms,    // x / sqrt(mean(x^2) + eps)
    Layer,  // (x - mean) / sqrt(var + eps)
};

// x: F32 [width, tokens], rows contiguous. scale, shift: F32 [width, distinct], a row per distinct timestep.
// rows: I32 [tokens], which of the distinct rows each token takes; null when there is one for all.
// Result: F32 [width, tokens]. Throws ShapeError for other layouts; rows of each may lie apart.
// rounded: the result is BF16 as round_rows (ops/linear) makes it.
ggml_tensor * modulate(Graph & graph, ggml_tensor * x, ggml_tensor * scale, ggml_tensor * shift, ggml_tensor * rows,
                       NormKind norm, float eps, bool rounded = false);

struct ModulateConstants {
    NormKind norm;
    float eps;
};

// Sources: x, scale, shift, then rows if there are any.
void modulate_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
