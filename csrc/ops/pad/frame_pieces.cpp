#include "ops/pad/frame_pieces.h"

#include <algorithm>

namespace ltx {

ggml_tensor * slice_frames(Graph & graph, ggml_tensor * frames, int64_t start, int64_t count) {
    if (count == 0 || (start == 0 && count == frame_count(frames))) {
        return count == 0 ? nullptr : frames;
    }
    return ggml_view_4d(graph.ctx(), frames, frames->ne[0], frames->ne[1], frames->ne[2], count, frames->nb[1],
                        frames->nb[2], frames->nb[3], static_cast<size_t>(start) * frames->nb[3]);
}

FramePieces slice_frames(Graph & graph, const FramePieces & pieces, int64_t start, int64_t count) {
    const int64_t split = frame_count(pieces.earlier);
    const int64_t end = start + count;
    const int64_t from_earlier = std::max<int64_t>(0, std::min(end, split) - start);
    return {slice_frames(graph, pieces.earlier, start, from_earlier),
            slice_frames(graph, pieces.frames, std::max<int64_t>(0, start - split), count - from_earlier)};
}

ggml_tensor * join_frames(Graph & graph, const FramePieces & pieces) {
    if (pieces.earlier && pieces.frames) {
        return ggml_concat(graph.ctx(), pieces.earlier, pieces.frames, 3);
    }
    return pieces.earlier ? pieces.earlier : pieces.frames;
}

}  // namespace ltx
