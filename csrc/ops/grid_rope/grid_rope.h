// RMS norm of each head, a scale, and rotation by the place in a grid: what queries and keys of windowed attention get.
// Source: ltx-core 1.2.0, diffusion video decoder.
#pragma once

#include <array>

#include "kernels/custom.h"

namespace ltx {

// qkv: F32 [3 * channels, W, H, T] without gaps: queries, keys and values of each cell; q_weight, k_weight:
// F32 [head_dim] -> the same memory, in which queries and keys have changed; composed operations give it memory of its
// own.
//
// Within a head y = x rsqrt(mean(x^2) + eps) weight, queries times `scale`; then the first (head_dim / 4) / 2 * 2
// elements rotate by the index along time, the next half of the rest by that along height, the last by that along width
// (16, 24 and 24 of 64). Pairs are neighbours: (e, o) -> (e cos a - o sin a, e sin a + o cos a),
// a = index * 10000^(-2 i / d) for pair i of a part of d elements. Indices count from 0; attention sees only their
// differences.
//
// Throws ShapeError.
ggml_tensor * norm_grid_rope(Graph & graph, ggml_tensor * qkv, ggml_tensor * q_weight, ggml_tensor * k_weight,
                             float scale, float eps);

struct NormGridRopeConstants {
    float scale;
    float eps;
};

// The parts of a head that time, height and width rotate.
inline std::array<int64_t, 3> grid_rope_parts(int64_t head_dim) {
    const int64_t time = head_dim / 4 / 2 * 2;
    const int64_t height = (head_dim - time) / 2 / 2 * 2;
    return {time, height, head_dim - time - height};
}

// Sources: qkv, q_weight, k_weight.
void norm_grid_rope_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
