// Layers over the cells of a grid in pieces.
#pragma once

#include <functional>

#include "graph/graph.h"

namespace ltx {

inline constexpr float kEps = 1e-6f;
// Layers go over cells in pieces, of which the widest values take so much each...
inline constexpr int64_t kPieceBytes = 16 << 20;
// ...or more where that would be too many nodes: those of a block are built between two looks at the room for them.
inline constexpr int64_t kMaxPieces = 64;

// RMS norm over channels, times `weight`. x: [channels, ...]
ggml_tensor * rms(Graph & graph, ggml_tensor * x, ggml_tensor * weight);

// Layers over the cells of a grid, [in, count] -> [channels, count] for some at a time.
// x: [in, W, H, T] -> [channels, W, H, T]
ggml_tensor * over_cells(Graph & graph, ggml_tensor * x, int64_t channels,
                         const std::function<ggml_tensor *(ggml_tensor * cells)> & layers);

// `count` frames from number `first` on.
ggml_tensor * frames_of(Graph & graph, ggml_tensor * x, int64_t first, int64_t count);

int64_t cells_of(const ggml_tensor * x);

// Cells of a piece in which a layer makes `width` values of each; `most`: pieces of x.
int64_t piece_of(const ggml_tensor * x, int64_t width, int64_t most);

}  // namespace ltx
