// Sound runs in parts that overlap, so that memory does not grow with its length.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "base/host_tensor.h"
#include "runtime/runner.h"

namespace ltx {

// How a network of the sound runs. Results do not depend on it but for the last bits.
struct AudioRunOptions {
    // Latent or mel frames per run, those around it for context not counted; 0: a fixed choice.
    int64_t chunk_frames = 0;
    // Results are channels-last, (T, F, C) in the VAE and (T, C) in the vocoder; they need a single run.
    ProbeSet probes;
    bool composed = false;  // stock operations instead of our own
};

// What a network asks of its chunks, in frames.
struct ChunkRule {
    int64_t usual;       // per run
    int64_t before;      // in front of a chunk, on which its results may depend
    int64_t behind = 0;  // likewise behind it
};

// A run gives the frames `begin` to `end` and sees `first` to `last`.
struct AudioChunk {
    int64_t begin, end;
    int64_t first, last;

    int64_t frames() const { return end - begin; }
    int64_t seen() const { return last - first; }
};

// Equal parts of `frames`; a single one when probes are asked for. Throws ArgumentError that names `function`.
std::vector<AudioChunk> split_sound(const char * function, int64_t frames, const ChunkRule & rule,
                                    const AudioRunOptions & options);

// The different lengths that runs of the usual chunks see.
std::set<int64_t> lengths_seen(const char * function, int64_t frames, const ChunkRule & rule);

RunOptions run_options(const AudioRunOptions & options);

// Throws ShapeError unless the shape is (channels, any number of `steps`, bins).
void expect_sound_shape(const char * function, const char * argument, const Shape & shape, int64_t channels,
                        int64_t bins, const char * steps);

// Rows `first` to `last` of an array whose rows have `width` values.
inline std::span<const float> rows_of(std::span<const float> values, int64_t first, int64_t last, int64_t width) {
    return values.subspan(static_cast<size_t>(first * width), static_cast<size_t>((last - first) * width));
}

}  // namespace ltx
