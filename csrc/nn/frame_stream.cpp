#include "nn/frame_stream.h"

#include <algorithm>

namespace ltx {

std::string FrameStream::key() const {
    std::string key;
    for (const auto & [layer, position] : now_) {
        key += std::to_string(position.kept) + (position.started ? "s" : "") + (position.closed ? "c" : "") + ",";
    }
    return key;
}

FramePieces FrameStream::with_kept(Graph & graph, const std::string & layer, ggml_tensor * frames) {
    const int32_t kept = position(layer).kept;
    if (kept == 0) {
        return {nullptr, frames};
    }
    return {slice_frames(graph, get_(layer), 0, kept), frames};
}

void FrameStream::keep(Graph & graph, const std::string & layer, ggml_tensor * frames,
                       std::initializer_list<ggml_tensor *> readers) {
    const int64_t count = frame_count(frames);
    if (count == 0) {
        return;
    }
    for (ggml_tensor * reader : readers) {
        if (reader) {
            graph.side_effect(reader);
        }
    }
    StreamPosition & at = position(layer);
    ggml_tensor * kept = make_(layer, frames->type, {frames->ne[0], frames->ne[1], frames->ne[2], kKeptFrames});
    const auto copy = [&](ggml_tensor * from, int64_t from_start, int64_t to_start, int64_t frames_copied) {
        graph.side_effect(ggml_cpy(graph.ctx(), slice_frames(graph, from, from_start, frames_copied),
                                   slice_frames(graph, kept, to_start, frames_copied)));
    };
    if (count >= kKeptFrames) {
        copy(frames, count - kKeptFrames, 0, kKeptFrames);
    } else if (at.kept < kKeptFrames) {
        copy(frames, 0, at.kept, 1);
    } else {
        copy(kept, 1, 0, 1);
        copy(frames, 0, 1, 1);
    }
    at.kept = static_cast<int32_t>(std::min<int64_t>(kKeptFrames, at.kept + count));
}

}  // namespace ltx
