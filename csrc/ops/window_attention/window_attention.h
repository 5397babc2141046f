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

// Where a row's first and last queries look: windows are shifted inwards at the left and right border, or stay centred
// over columns that lie beyond it. Height and time always shift.
enum class RowEnds : int32_t { Shift, Centre };

// qkv: F32 [3 * heads * head_dim, W, H, T] without gaps: queries, keys and values of each cell.
// -> softmax(q k^T) v over the keys of each query's window, in the memory of the queries:
// F32 [heads * head_dim, W, H, T], cells evenly apart.
//
// Along an axis of n keys, query i sees window keys from clamp(i - window / 2, 0, n - window) on: at a border the
// window is shifted inwards, never cut. With RowEnds::Centre window.width / 2 columns on each side hold keys and values
// only, and the result has so many fewer columns on each side; the window's width has to be odd.
//
// Composed operations give the result memory of its own; they attend in tiles of queries over boxes of keys.
//
// Throws ShapeError, also for a grid smaller than the window.
ggml_tensor * window_attention(Graph & graph, ggml_tensor * qkv, int64_t head_dim, GridSize window,
                               RowEnds ends = RowEnds::Shift);

// Its definition from stock operations. margin: columns without queries on each side.
ggml_tensor * window_attention_composed(Graph & graph, ggml_tensor * qkv, int64_t head_dim, GridSize window,
                                        int32_t margin);

struct WindowAttentionConstants {
    GridSize window;
    int32_t head_dim;
    int32_t margin;  // columns without queries on each side
};

// Source: qkv, of which the queries are overwritten.
void window_attention_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
