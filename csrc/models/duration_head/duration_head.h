// The duration head of LTX-2.5: reads from the contexts of a prompt how long its clip should last.
// Source: ltx-core 1.2.0, duration predictor.
#pragma once

#include "nn/linear.h"

namespace ltx {

struct DurationHeadConfig {
    int64_t video_width;  // of the contexts
    int64_t audio_width;
    int64_t width;
    int64_t num_queries;
    int64_t num_heads;
    int64_t hidden_width;
};

// Brings the rows of one context to the width of the head, and marks whose they are.
struct DurationInput {
    Linear proj;
    ggml_tensor * modality_emb = nullptr;  // ne: [width]

    // context: [context_width, rows] -> [width, rows]
    ggml_tensor * build(Graph & graph, ggml_tensor * context) const;
};

struct DurationHead {
    DurationHeadConfig config;
    DurationInput video, audio;
    ggml_tensor * query_tokens = nullptr;  // ne: [width, num_queries]
    Linear in_proj;                        // rows of queries, of keys, of values
    Linear out_proj;
    Linear mlp_hidden, mlp_out;

    static DurationHead load(const Scope & scope, const DurationHeadConfig & config);

    // video, audio: F32 [context_width, rows], one of them may be null -> F32 [1], the logarithm of the seconds
    ggml_tensor * build(Graph & graph, ggml_tensor * video_context, ggml_tensor * audio_context) const;

private:
    // tokens: [width, rows] -> [width, num_queries], what the queries find in them
    ggml_tensor * pool(Graph & graph, ggml_tensor * tokens) const;
};

}  // namespace ltx
