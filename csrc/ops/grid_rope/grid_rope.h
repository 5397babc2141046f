// RMS norm of each head, a scale, and rotation by the place in a grid: what queries and keys of windowed attention get.
// Source: ltx-core 1.2.0, diffusion video decoder.
#pragma once

#include "kernels/custom.h"

namespace ltx {

// x: F32 [heads * head_dim, W, H, T], cells evenly apart; weight: F32 [head_dim] -> F32 of the same shape.
//
// Within a head y = x rsqrt(mean(x^2) + eps) weight scale; then the first (head_dim / 4) / 2 * 2 elements rotate by the
// index along time, the next half of the rest by that along height, the last by that along width (16, 24 and 24 of 64).
// Pairs are neighbours: (e, o) -> (e cos a - o sin a, e sin a + o cos a), a = index * 10000^(-2 i / d) for pair i of a
// part of d elements. Indices count from 0; attention sees only their differences.
//
// Only for graphs on the CPU. Throws ShapeError; UnsupportedError where operations are composed.
ggml_tensor * norm_grid_rope(Graph & graph, ggml_tensor * x, ggml_tensor * weight, float scale, float eps);

struct NormGridRopeConstants {
    float scale;
    float eps;
};

// Sources: x, weight.
void norm_grid_rope_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
