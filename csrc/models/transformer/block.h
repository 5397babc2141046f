// One block of the audio-video transformer: per stream self-attention, text cross-attention and feed-forward, and
// attention between the streams in both directions. Source: ltx-core, transformer/transformer.py
// (BasicAVTransformerBlock).
#pragma once

#include <optional>

#include "models/transformer/config.h"
#include "nn/attention.h"
#include "nn/feed_forward.h"

namespace ltx {

// What every block needs of one stream besides its state. `distinct` counts different noise levels among the tokens.
struct StreamContext {
    ggml_tensor * context;               // [context_width, context_rows]
    ggml_tensor * rows = nullptr;        // I32 [tokens], the noise level of each token; null when one rules all
    ggml_tensor * modulation = nullptr;  // [width, 9 or 6, distinct]
    ggml_tensor * prompt = nullptr;      // [width, 2, 1]; null: static table rows
    ggml_tensor * cross = nullptr;       // [width, 4, distinct]; null without attention between the streams
    ggml_tensor * cross_gate = nullptr;  // [width, 1, 1]; likewise
    ggml_tensor * mask = nullptr;        // F16 [tokens, tokens], added to the self-attention logits; or null
    RopeTables rope;
    RopeTables cross_rope;
};

// The state of both streams; an absent one is null.
struct BlockState {
    ggml_tensor * video;  // [width, tokens]
    ggml_tensor * audio;  // [width, tokens]
};

// The half of a block that belongs to one stream.
struct StreamBlock {
    StreamNames names;
    Attention attn1;            // self
    Attention attn2;            // to the prompt
    Attention cross_attention;  // to the other stream; unset where there is none
    FeedForward ff;
    ggml_tensor * scale_shift_table = nullptr;         // ne: [width, 9 or 6]
    ggml_tensor * prompt_scale_shift_table = nullptr;  // ne: [width, 2], or null (2.0)
    ggml_tensor * cross_scale_shift_table = nullptr;   // ne: [width, 5]; null likewise
    float norm_eps = 0;

    // `scope` is marked by the use of the stream, `cross_scope` by that of both. `other` is null in a model of one
    // stream.
    static StreamBlock load(const Scope & scope, const Scope & cross_scope, const TransformerConfig & config,
                            const StreamConfig & own, const StreamConfig * other);

    // Table plus timestep rows: [width, rows, distinct].
    ggml_tensor * build_modulation(Graph & graph, const StreamContext & stream) const;

    // Self-attention and text cross-attention. x: [width, tokens] -> the same.
    ggml_tensor * build_attention(Graph & graph, ggml_tensor * x, const StreamContext & stream,
                                  ggml_tensor * modulation, bool pass_values) const;

    ggml_tensor * build_feed_forward(Graph & graph, ggml_tensor * x, const StreamContext & stream,
                                     ggml_tensor * modulation) const;

private:
    ggml_tensor * build_text(Graph & graph, ggml_tensor * x, const StreamContext & stream,
                             ggml_tensor * modulation) const;
};

struct TransformerBlock {
    StreamBlock video;
    std::optional<StreamBlock> audio;  // absent in a model of one stream

    static TransformerBlock load(const Scope & scope, const TransformerConfig & config, const StreamUse & use);

    // Contexts are null for absent streams. `pass_values`: STG, tokens keep their own values in self-attention.
    // Attention between the streams happens when both contexts carry cross modulation.
    BlockState build(Graph & graph, BlockState state, const StreamContext * video_context,
                     const StreamContext * audio_context, bool pass_values) const;

private:
    BlockState build_cross(Graph & graph, BlockState state, const StreamContext & video_context,
                           const StreamContext & audio_context) const;
};

}  // namespace ltx
