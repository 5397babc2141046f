// Attention of every cell of a grid to a box of cells around it, with F32 sums; no matrix of all pairs is made.
// Source: Hassani et al., "Neighborhood Attention Transformer" (2023); ltx-core 1.2.0, diffusion video decoder.
#pragma once

#include <cstdint>

#include "kernels/custom.h"

namespace ltx {

// Extents of a box of cells, or of a grid of them.
struct GridSize {
    int32_t time;
    int32_t height;
    int32_t width;

    int64_t cells() const { return int64_t{time} * height * width; }
};

// q: F32 [heads * head_dim, W, H, T], cells evenly apart; k, v: the same, or with window.width - 1 more columns, half
// of them on each side.
// -> softmax(q k^T) v over the keys of each query's window, F32 of q's shape.
//
// Along an axis of n keys, query i sees window keys from clamp(i - window / 2, 0, n - window) on: at a border the
// window is shifted inwards, never cut. With the extra columns, query i along the width sees those from i on, so that
// its window stays centred.
//
// Only for graphs on the CPU. Throws ShapeError, also for a grid smaller than the window; UnsupportedError where
// operations are composed.
ggml_tensor * window_attention(Graph & graph, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, int64_t head_dim,
                               GridSize window);

struct WindowAttentionConstants {
    GridSize window;
    int32_t head_dim;
};

// Sources: q, k, v.
void window_attention_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
