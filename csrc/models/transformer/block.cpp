#include "models/transformer/block.h"

#include "ops/gated_residual/gated_residual.h"
#include "ops/modulate/modulate.h"

namespace ltx {

namespace {

// Rows of scale_shift_table. The tables of the attention between streams order scale before shift, these two do not.
enum Row { kShiftSelf, kScaleSelf, kGateSelf, kShiftFf, kScaleFf, kGateFf, kShiftQuery, kScaleQuery, kGateText };
enum PromptRow { kShiftContext, kScaleContext };
enum CrossRow { kScaleToVideo, kShiftToVideo, kScaleToAudio, kShiftToAudio, kGateCross };

constexpr int64_t kCrossRows = 5;

// Row `index` of [width, rows, distinct] as [width, distinct].
ggml_tensor * row_of(Graph & graph, ggml_tensor * modulation, int64_t index) {
    return ggml_view_2d(graph.ctx(), modulation, modulation->ne[0], modulation->ne[2], modulation->nb[2],
                        static_cast<size_t>(index) * modulation->nb[1]);
}

// Rows `first`.. of a table, as many as the timestep has, plus the timestep's rows: [width, rows, distinct].
ggml_tensor * add_rows(Graph & graph, ggml_tensor * timestep, ggml_tensor * table, int64_t first = 0) {
    ggml_context * ctx = graph.ctx();
    if (first != 0 || table->ne[1] != timestep->ne[1]) {
        table = ggml_view_2d(ctx, table, table->ne[0], timestep->ne[1], table->nb[1],
                             static_cast<size_t>(first) * table->nb[1]);
    }
    return ggml_add(ctx, timestep, table);
}

// x + gate * branch, or x + branch, within the last layer of `build(epilogue)` unless the branch itself was asked for.
template <typename Build>
ggml_tensor * add_branch(Graph & graph, const std::string & name, const LinearEpilogue & epilogue, Build build) {
    if (!graph.wants(name)) {
        return build(epilogue);
    }
    ggml_tensor * branch = graph.probe(name, build(LinearEpilogue{}));
    return epilogue.gate ? gated_residual(graph, epilogue.residual, branch, epilogue.gate, epilogue.gate_rows)
                         : ggml_add(graph.ctx(), epilogue.residual, branch);
}

// How a layer's input is modulated: by two rows of a table, each with an entry per noise level.
struct Modulation {
    ggml_tensor * table;  // [width, rows, distinct]
    int64_t scale;        // which row
    int64_t shift;
    ggml_tensor * levels;  // the noise level of each token, as in StreamContext::rows
    NormKind norm = NormKind::Rms;
};

// What a layer with this weight reads: modulated and, where that is good enough for it, rounded.
ggml_tensor * modulate_for(Graph & graph, const Linear & layer, ggml_tensor * x, const Modulation & by, float eps) {
    return modulate(graph, x, row_of(graph, by.table, by.scale), row_of(graph, by.table, by.shift), by.levels, by.norm,
                    eps, takes_rounded(graph, layer.weight, x->ne[1]));
}

}  // namespace

StreamBlock StreamBlock::load(const Scope & scope, const Scope & cross_scope, const TransformerConfig & config,
                              const StreamConfig & own, const StreamConfig * other) {
    const int64_t width = own.width();
    const std::string & prefix = own.names.prefix;
    const auto attention = [&](const Scope & attention_scope, int64_t context_width, int64_t num_heads,
                               int64_t head_dim) {
        return Attention::load(attention_scope, {.query_width = width,
                                                 .context_width = context_width,
                                                 .output_width = width,
                                                 .num_heads = num_heads,
                                                 .head_dim = head_dim,
                                                 .gated = config.gated_attention,
                                                 .norm_eps = config.norm_eps});
    };
    StreamBlock block;
    block.names = own.names;
    block.norm_eps = config.norm_eps;
    block.attn1 = attention(scope.at(prefix + "attn1"), width, own.num_heads, own.head_dim);
    block.attn2 = attention(scope.at(prefix + "attn2"), own.context_width, own.num_heads, own.head_dim);
    block.ff = FeedForward::load(scope.at(prefix + "ff"), width, own.ff_bias);
    block.scale_shift_table =
        scope.require(prefix + "scale_shift_table", {config.modulation_rows(), width}, WeightKind::Vector);
    if (config.cross_attention_adaln) {
        block.prompt_scale_shift_table =
            scope.require(prefix + "prompt_scale_shift_table", {2, width}, WeightKind::Vector);
    }
    if (other) {
        // Both directions work in the heads of the audio stream.
        block.cross_attention = attention(cross_scope.at(own.names.cross_attention), other->width(),
                                          config.audio->num_heads, config.audio->head_dim);
        block.cross_scale_shift_table =
            cross_scope.require(own.names.cross_scale_shift_table, {kCrossRows, width}, WeightKind::Vector);
    }
    return block;
}

ggml_tensor * StreamBlock::build_modulation(Graph & graph, const StreamContext & stream) const {
    return add_rows(graph, stream.modulation, scale_shift_table);
}

ggml_tensor * StreamBlock::build_attention(Graph & graph, ggml_tensor * x, const StreamContext & stream,
                                           ggml_tensor * modulation, bool pass_values) const {
    ggml_tensor * normed =
        modulate_for(graph, attn1.to_q, x,
                     {.table = modulation, .scale = kScaleSelf, .shift = kShiftSelf, .levels = stream.rows}, norm_eps);
    const AttentionInputs inputs{.x = normed,
                                 .context = normed,
                                 .query_rope = &stream.rope,
                                 .key_rope = &stream.rope,
                                 .mask = stream.mask,
                                 .pass_values = pass_values};
    x = add_branch(graph, names.prefix + "attn1",
                   {.residual = x, .gate = row_of(graph, modulation, kGateSelf), .gate_rows = stream.rows},
                   [&](const LinearEpilogue & epilogue) { return attn1.build(graph, inputs, epilogue); });
    return build_text(graph, x, stream, modulation);
}

ggml_tensor * StreamBlock::build_text(Graph & graph, ggml_tensor * x, const StreamContext & stream,
                                      ggml_tensor * modulation) const {
    ggml_context * ctx = graph.ctx();
    const std::string name = names.prefix + "attn2";
    if (!prompt_scale_shift_table) {
        ggml_tensor * normed = ggml_rms_norm(ctx, x, norm_eps);
        return add_branch(graph, name, {.residual = x}, [&](const LinearEpilogue & epilogue) {
            return attn2.build(graph, {.x = normed, .context = stream.context}, epilogue);
        });  // ne: [width, tokens]
    }
    ggml_tensor * normed = modulate_for(
        graph, attn2.to_q, x, {.table = modulation, .scale = kScaleQuery, .shift = kShiftQuery, .levels = stream.rows},
        norm_eps);
    ggml_tensor * table = prompt_scale_shift_table;
    ggml_tensor * prompt = stream.prompt ? add_rows(graph, stream.prompt, table)
                                         : ggml_reshape_3d(ctx, table, table->ne[0], table->ne[1], 1);
    ggml_tensor * context = modulate_for(
        graph, attn2.to_v, stream.context,
        {.table = prompt, .scale = kScaleContext, .shift = kShiftContext, .levels = nullptr, .norm = NormKind::None},
        norm_eps);
    return add_branch(graph, name,
                      {.residual = x, .gate = row_of(graph, modulation, kGateText), .gate_rows = stream.rows},
                      [&](const LinearEpilogue & epilogue) {
                          return attn2.build(graph, {.x = normed, .context = context}, epilogue);
                      });
}

ggml_tensor * StreamBlock::build_feed_forward(Graph & graph, ggml_tensor * x, const StreamContext & stream,
                                              ggml_tensor * modulation) const {
    ggml_tensor * normed = modulate_for(
        graph, ff.up, x, {.table = modulation, .scale = kScaleFf, .shift = kShiftFf, .levels = stream.rows}, norm_eps);
    return add_branch(graph, names.prefix + "ff",
                      {.residual = x, .gate = row_of(graph, modulation, kGateFf), .gate_rows = stream.rows},
                      [&](const LinearEpilogue & epilogue) { return ff.build(graph, normed, epilogue); });
}

TransformerBlock TransformerBlock::load(const Scope & scope, const TransformerConfig & config, const StreamUse & use) {
    const Scope cross_scope = scope.used_if(use.both());
    const StreamConfig * audio_config = config.audio ? &*config.audio : nullptr;
    TransformerBlock block;
    block.video = StreamBlock::load(scope.used_if(use.video), cross_scope, config, config.video, audio_config);
    if (audio_config) {
        block.audio = StreamBlock::load(scope.used_if(use.audio), cross_scope, config, *audio_config, &config.video);
    }
    return block;
}

BlockState TransformerBlock::build_cross(Graph & graph, BlockState state, const StreamContext & video_context,
                                         const StreamContext & audio_context) const {
    const auto cross_rows = [&](const StreamBlock & block, const StreamContext & stream) {
        return add_rows(graph, stream.cross, block.cross_scale_shift_table);  // ne: [width, 4, distinct]
    };
    const auto cross_gate = [&](const StreamBlock & block, const StreamContext & stream) {
        return row_of(graph, add_rows(graph, stream.cross_gate, block.cross_scale_shift_table, kGateCross), 0);
    };
    ggml_tensor * video_rows = cross_rows(video, video_context);
    ggml_tensor * audio_rows = cross_rows(*audio, audio_context);
    const auto normed = [&](const Linear & layer, ggml_tensor * x, ggml_tensor * rows, const StreamContext & stream,
                            CrossRow scale, CrossRow shift) {
        return modulate_for(graph, layer, x, {.table = rows, .scale = scale, .shift = shift, .levels = stream.rows},
                            video.norm_eps);
    };
    const Attention & to_video = video.cross_attention;
    const Attention & to_audio = audio->cross_attention;
    // Both directions read the state from before either is added.
    const AttentionInputs video_inputs{
        .x = normed(to_video.to_q, state.video, video_rows, video_context, kScaleToVideo, kShiftToVideo),
        .context = normed(to_video.to_v, state.audio, audio_rows, audio_context, kScaleToVideo, kShiftToVideo),
        .query_rope = &video_context.cross_rope,
        .key_rope = &audio_context.cross_rope};
    const AttentionInputs audio_inputs{
        .x = normed(to_audio.to_q, state.audio, audio_rows, audio_context, kScaleToAudio, kShiftToAudio),
        .context = normed(to_audio.to_v, state.video, video_rows, video_context, kScaleToAudio, kShiftToAudio),
        .query_rope = &audio_context.cross_rope,
        .key_rope = &video_context.cross_rope};
    return {add_branch(graph, video.names.cross_attention,
                       {.residual = state.video, .gate = cross_gate(video, video_context)},
                       [&](const LinearEpilogue & epilogue) { return to_video.build(graph, video_inputs, epilogue); }),
            add_branch(graph, audio->names.cross_attention,
                       {.residual = state.audio, .gate = cross_gate(*audio, audio_context)},
                       [&](const LinearEpilogue & epilogue) { return to_audio.build(graph, audio_inputs, epilogue); })};
}

BlockState TransformerBlock::build(Graph & graph, BlockState state, const StreamContext * video_context,
                                   const StreamContext * audio_context, bool pass_values) const {
    ggml_tensor * video_modulation = nullptr;
    ggml_tensor * audio_modulation = nullptr;
    if (video_context) {
        video_modulation = video.build_modulation(graph, *video_context);
        state.video = video.build_attention(graph, state.video, *video_context, video_modulation, pass_values);
    }
    if (audio_context) {
        audio_modulation = audio->build_modulation(graph, *audio_context);
        state.audio = audio->build_attention(graph, state.audio, *audio_context, audio_modulation, pass_values);
    }
    if (video_context && audio_context && video_context->cross && audio_context->cross) {
        state = build_cross(graph, state, *video_context, *audio_context);
    }
    if (video_context) {
        state.video = video.build_feed_forward(graph, state.video, *video_context, video_modulation);
        graph.probe("", state.video);
    }
    if (audio_context) {
        state.audio = audio->build_feed_forward(graph, state.audio, *audio_context, audio_modulation);
        graph.probe("audio", state.audio);
    }
    return state;
}

}  // namespace ltx
