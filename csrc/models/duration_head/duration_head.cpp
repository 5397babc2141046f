#include "models/duration_head/duration_head.h"

#include <cmath>

#include "base/error.h"
#include "nn/attention.h"

namespace ltx {

namespace {

void check(const DurationHeadConfig & c) {
    if (c.num_heads < 1 || c.num_queries < 1 || c.width < 1 || c.width % c.num_heads != 0) {
        throw ConfigError("duration head: expected a width that num_heads divides, found ", c.width, " and ",
                          c.num_heads);
    }
}

DurationInput load_input(const Scope & scope, const std::string & stream, int64_t context_width, int64_t width) {
    return {.proj = Linear::load(scope.at(stream + "_input_proj"), context_width, width),
            .modality_emb = scope.require(stream + "_modality_emb", {width}, WeightKind::Vector)};
}

}  // namespace

ggml_tensor * DurationInput::build(Graph & graph, ggml_tensor * context) const {
    return ggml_add(graph.ctx(), proj.build(graph, context), modality_emb);
}

DurationHead DurationHead::load(const Scope & scope, const DurationHeadConfig & config) {
    check(config);
    const int64_t width = config.width;
    const Scope attention = scope.at("attention_pooler.cross_attn");
    return {
        .config = config,
        .video = load_input(scope, "video", config.video_width, width),
        .audio = load_input(scope, "audio", config.audio_width, width),
        .query_tokens = scope.require("attention_pooler.query_tokens", {config.num_queries, width}, WeightKind::Vector),
        .in_proj = {.weight = attention.require("in_proj_weight", {3 * width, width}, WeightKind::Matrix),
                    .bias = attention.require("in_proj_bias", {3 * width}, WeightKind::Vector),
                    .low_rank = std::nullopt,
                    .rotated = std::nullopt},
        .out_proj = Linear::load(attention.at("out_proj"), width, width),
        .mlp_hidden = Linear::load(scope.at("mlp_hidden"), config.num_queries * width, config.hidden_width),
        .mlp_out = Linear::load(scope.at("mlp_out"), config.hidden_width, 1),
    };
}

ggml_tensor * DurationHead::pool(Graph & graph, ggml_tensor * tokens) const {
    ggml_context * ctx = graph.ctx();
    const int64_t queries = config.num_queries;
    const int64_t head_dim = config.width / config.num_heads;
    // One product for queries and tokens: ne [3 width, queries + rows].
    ggml_tensor * all = in_proj.build(graph, ggml_concat(ctx, query_tokens, tokens, 1));
    const auto part = [&](int64_t which, int64_t first, int64_t count) {
        return ggml_view_3d(ctx, all, head_dim, config.num_heads, count, head_dim * all->nb[0], all->nb[1],
                            which * config.width * all->nb[0] + first * all->nb[1]);
    };
    const int64_t rows = tokens->ne[1];
    ggml_tensor * found = attend(graph, {.q = part(0, 0, queries),
                                         .k = part(1, queries, rows),
                                         .v = part(2, queries, rows),
                                         .scale = 1.0f / std::sqrt(static_cast<float>(head_dim))});
    return out_proj.build(graph, found);
}

ggml_tensor * DurationHead::build(Graph & graph, ggml_tensor * video_context, ggml_tensor * audio_context) const {
    ggml_context * ctx = graph.ctx();
    ggml_tensor * tokens = video_context ? video.build(graph, video_context) : nullptr;
    if (audio_context) {
        ggml_tensor * rows = audio.build(graph, audio_context);
        tokens = tokens ? ggml_concat(ctx, tokens, rows, 1) : rows;
    }
    ggml_tensor * pooled = ggml_reshape_2d(ctx, pool(graph, tokens), config.width * config.num_queries, 1);
    return mlp_out.build(graph, mlp_hidden.build(graph, pooled, {.gelu = true}));
}

}  // namespace ltx
