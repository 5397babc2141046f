// The audio-video diffusion transformer: noisy latent tokens and prompt contexts in, velocities out.
// Source: ltx-core, transformer/model.py (LTXModel).
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "models/transformer/adaln.h"
#include "models/transformer/block.h"

namespace ltx {

// Sizes of one stream in one call.
struct StreamShape {
    int64_t tokens;
    int64_t context_rows;
    int64_t noise_levels;  // different ones among the tokens
    bool masked;           // self-attention takes an additive mask
    bool marked = false;   // some tokens stand for one pixel frame and get the keyframe embedding
    // Rows of the rotary tables: different positions of all axes, and different times (StreamTables).
    int64_t positions = 0;
    int64_t times = 0;
};

// Everything a graph depends on. An absent stream is not computed.
struct TransformerRun {
    std::optional<StreamShape> video;
    std::optional<StreamShape> audio;
    std::set<int> stg_blocks;  // self-attention of both streams passes values through
    bool isolate = false;      // no attention between the streams

    bool has_cross() const { return video && audio && !isolate; }
    std::string key() const;
};

// Prompt context to the width of a stream (2.0 only): Linear, GELU (tanh form), Linear.
struct CaptionProjection {
    Linear linear_1;
    Linear linear_2;

    static CaptionProjection load(const Scope & scope, int64_t in, int64_t width);

    // x: [caption_channels, rows] -> [width, rows]
    ggml_tensor * build(Graph & graph, ggml_tensor * x) const;
};

// What surrounds the blocks for one stream.
struct StreamHead {
    StreamConfig config;
    Linear patchify_proj;
    ggml_tensor * keyframes_embedding = nullptr;  // ne: [width], or null where the model has none
    std::optional<CaptionProjection> caption_projection;
    AdaLayerNormSingle adaln_single;
    std::optional<AdaLayerNormSingle> prompt_adaln_single;
    AdaLayerNormSingle cross_adaln_single;  // this and the next are unset in a model of one stream
    AdaLayerNormSingle cross_gate_adaln_single;
    ggml_tensor * scale_shift_table = nullptr;  // ne: [width, 2]
    Linear proj_out;
    float norm_eps = 0;

    // Scopes as for StreamBlock.
    static StreamHead load(const Scope & scope, const Scope & cross_scope, const TransformerConfig & config,
                           const StreamConfig & own);

    struct Entry {
        ggml_tensor * x;         // [width, tokens]
        ggml_tensor * embedded;  // [width, distinct], for the output layer
        StreamContext context;
    };

    // Declares the stream's inputs, named "video.latent" and so on (model.cpp), and embeds them.
    Entry build_entry(Graph & graph, const std::string & stream, const StreamShape & shape, bool with_cross,
                      int64_t cross_width) const;

    // x: [width, tokens] -> [out_channels, tokens]
    ggml_tensor * build_exit(Graph & graph, ggml_tensor * x, const Entry & entry) const;
};

struct Transformer {
    StreamHead video;
    std::optional<StreamHead> audio;  // absent in a model of one stream
    std::vector<TransformerBlock> blocks;
    int64_t cross_width = 0;

    static Transformer load(const Scope & scope, const TransformerConfig & config, const StreamUse & use);

    // Outputs "video" and "audio", F32 [out_channels, tokens], for the streams of `run`, which the model has to have in
    // use.
    void build(Graph & graph, const TransformerRun & run) const;
};

}  // namespace ltx
