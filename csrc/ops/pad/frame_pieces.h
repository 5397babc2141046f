// Consecutive frames that lie in two tensors: some kept from an earlier run, and the new ones.
#pragma once

#include "kernels/custom.h"

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

// Which pieces a custom node has among its sources: those it has not are left out of the list.
enum class PieceSet : int32_t { None = 0, Earlier = 1, Frames = 2, Both = 3 };

inline PieceSet piece_set(const FramePieces & pieces) {
    return static_cast<PieceSet>((pieces.earlier ? 1 : 0) + (pieces.frames ? 2 : 0));
}

// The pieces from source `first` of a node on.
inline FramePieces pieces_of(const ggml_tensor * node, int first, PieceSet set) {
    switch (set) {
        case PieceSet::None:
            return {};
        case PieceSet::Earlier:
            return {node->src[first], nullptr};
        case PieceSet::Frames:
            return {nullptr, node->src[first]};
        case PieceSet::Both:
            return {node->src[first], node->src[first + 1]};
    }
    return {};
}

// Frames [start, start + count) of a tensor as a view; null when count is 0.
ggml_tensor * slice_frames(Graph & graph, ggml_tensor * frames, int64_t start, int64_t count);
FramePieces slice_frames(Graph & graph, const FramePieces & pieces, int64_t start, int64_t count);

// One tensor of all frames (a copy when both pieces exist); null when there are none.
ggml_tensor * join_frames(Graph & graph, const FramePieces & pieces);

}  // namespace ltx
