// Consecutive frames that lie in two tensors: some kept from an earlier run, and the new ones.
#pragma once

#include "graph/graph.h"

namespace ltx {

// Both: [C, W, H, frames] of equal C, W, H; either may be null.
struct FramePieces {
    ggml_tensor * earlier = nullptr;
    ggml_tensor * frames = nullptr;
};

inline int64_t frame_count(const ggml_tensor * frames) {
    return frames ? frames->ne[3] : 0;
}

inline int64_t frame_count(const FramePieces & pieces) {
    return frame_count(pieces.earlier) + frame_count(pieces.frames);
}

// Frames [start, start + count) of a tensor as a view; null when count is 0.
ggml_tensor * slice_frames(Graph & graph, ggml_tensor * frames, int64_t start, int64_t count);
FramePieces slice_frames(Graph & graph, const FramePieces & pieces, int64_t start, int64_t count);

// One tensor of all frames (a copy when both pieces exist); null when there are none.
ggml_tensor * join_frames(Graph & graph, const FramePieces & pieces);

}  // namespace ltx
