#include "networks/audio_chunks.h"

#include <algorithm>

#include "base/error.h"

namespace ltx {

std::vector<AudioChunk> split_sound(const char * function, int64_t frames, const ChunkRule & rule,
                                    const AudioRunOptions & options) {
    if (options.chunk_frames < 0) {
        throw ArgumentError(function, ": chunk_frames is ", options.chunk_frames,
                            ", expected at least 1, or 0 for the usual choice");
    }
    const int64_t most = options.chunk_frames > 0 ? options.chunk_frames : rule.usual;
    const int64_t count = options.probes.empty() ? (frames + most - 1) / most : 1;
    std::vector<AudioChunk> chunks;
    for (int64_t i = 0; i < count; ++i) {
        const int64_t begin = frames * i / count;
        const int64_t end = frames * (i + 1) / count;
        chunks.push_back({.begin = begin,
                          .end = end,
                          .first = std::max<int64_t>(begin - rule.before, 0),
                          .last = std::min(end + rule.behind, frames)});
    }
    return chunks;
}

std::set<int64_t> lengths_seen(const char * function, int64_t frames, const ChunkRule & rule) {
    std::set<int64_t> lengths;
    for (const AudioChunk & chunk : split_sound(function, frames, rule, {})) {
        lengths.insert(chunk.seen());
    }
    return lengths;
}

RunOptions run_options(const AudioRunOptions & options) {
    return {.probes = options.probes, .form = options.composed ? OpForm::Composed : OpForm::Fused};
}

void expect_sound_shape(const char * function, const char * argument, const Shape & shape, int64_t channels,
                        int64_t bins, const char * steps) {
    if (shape.size() != 3 || shape[0] != channels || shape[1] < 1 || shape[2] != bins) {
        throw ShapeError(function, ": ", argument, " has shape ", shape, ", expected (", channels, ", ", steps, ", ",
                         bins, ")");
    }
}

}  // namespace ltx
