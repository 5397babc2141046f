#include "models/transformer/model.h"

#include "graph/product.h"
#include "nn/timestep.h"
#include "ops/modulate/modulate.h"

namespace ltx {

namespace {

constexpr int64_t kCrossModulationRows = 4;

std::string block_name(size_t index) {
    return "transformer_blocks." + std::to_string(index);
}

std::string shape_key(const char * stream, const std::optional<StreamShape> & shape) {
    if (!shape) {
        return std::string(stream) + "-";
    }
    return std::string(stream) + std::to_string(shape->tokens) + "," + std::to_string(shape->context_rows) + "," +
           std::to_string(shape->noise_levels) + "," + std::to_string(shape->positions) + "," +
           std::to_string(shape->times) + (shape->masked ? "m" : "") + (shape->marked ? "k" : "");
}

}  // namespace

std::string TransformerRun::key() const {
    std::string key = shape_key("v", video) + shape_key("|a", audio) + (isolate ? "|isolated" : "");
    for (const int block : stg_blocks) {
        key += "|s" + std::to_string(block);
    }
    return key;
}

CaptionProjection CaptionProjection::load(const Scope & scope, int64_t in, int64_t width) {
    return {Linear::load(scope.at("linear_1"), in, width), Linear::load(scope.at("linear_2"), width, width)};
}

ggml_tensor * CaptionProjection::build(Graph & graph, ggml_tensor * x) const {
    return linear_2.build(graph, linear_1.build(graph, x, {.gelu = true, .for_products = true}));
}

StreamHead StreamHead::load(const Scope & scope, const Scope & cross_scope, const TransformerConfig & config,
                            const StreamConfig & own) {
    const int64_t width = own.width();
    const std::string & prefix = own.names.prefix;
    StreamHead head;
    head.config = own;
    head.norm_eps = config.norm_eps;
    head.patchify_proj = Linear::load(scope.at(prefix + "patchify_proj"), own.in_channels, width);
    if (config.keyframes_embedding && prefix.empty()) {
        head.keyframes_embedding = scope.require("keyframes_abs_pos_embedding", {1, width}, WeightKind::Vector);
    }
    if (config.caption_projection) {
        head.caption_projection =
            CaptionProjection::load(scope.at(prefix + "caption_projection"), config.caption_channels, width);
    }
    head.adaln_single = AdaLayerNormSingle::load(scope, prefix + "adaln_single", width, config.modulation_rows());
    if (config.cross_attention_adaln && config.prompt_adaln) {
        head.prompt_adaln_single = AdaLayerNormSingle::load(scope, prefix + "prompt_adaln_single", width, 2);
    }
    if (config.audio) {
        head.cross_adaln_single =
            AdaLayerNormSingle::load(cross_scope, own.names.cross_adaln, width, kCrossModulationRows);
        head.cross_gate_adaln_single = AdaLayerNormSingle::load(cross_scope, own.names.cross_gate_adaln, width, 1);
    }
    head.scale_shift_table = scope.require(prefix + "scale_shift_table", {2, width}, WeightKind::Vector);
    head.proj_out = Linear::load(scope.at(prefix + "proj_out"), width, own.out_channels);
    return head;
}

StreamHead::Entry StreamHead::build_entry(Graph & graph, const std::string & stream, const StreamShape & shape,
                                          bool with_cross, int64_t cross_width) const {
    const auto input = [&](const char * name, int64_t ne0, int64_t ne1, ggml_type type = GGML_TYPE_F32) {
        return graph.input(stream + "." + name, type, {ne0, ne1, 1, 1});
    };
    const auto rope_input = [&](const std::string & name, int64_t width, int64_t count, int64_t axes) {
        return shared_rope_tables(
            graph, {input((name + "_cos").c_str(), width / 2, count), input((name + "_sin").c_str(), width / 2, count),
                    input((name + "_rows").c_str(), shape.tokens, axes, GGML_TYPE_I32)});
    };
    Entry entry{};
    entry.x = patchify_proj.build(graph, input("latent", config.in_channels, shape.tokens));
    graph.probe(config.names.prefix + "patchify_proj", entry.x);
    if (shape.marked && keyframes_embedding) {
        ggml_tensor * embedding = ggml_reshape_2d(graph.ctx(), keyframes_embedding, 1, config.width());
        ggml_tensor * marks = input("keyframes", 1, shape.tokens);  // 1 or 0 per token
        entry.x = ggml_add(graph.ctx(), entry.x, product(graph, embedding, marks));
    }
    StreamContext & context = entry.context;
    if (caption_projection) {
        context.context = caption_projection->build(
            graph, input("context", caption_projection->linear_1.weight->ne[0], shape.context_rows));
        graph.probe(config.names.prefix + "caption_projection", context.context);
    } else {
        context.context = input("context", config.context_width, shape.context_rows);
    }
    if (shape.noise_levels > 1) {
        context.rows = input("rows", shape.tokens, 1, GGML_TYPE_I32);
    }
    if (shape.masked) {
        context.mask = input("mask", shape.tokens, shape.tokens, GGML_TYPE_F16);
    }
    ggml_tensor * levels = input("timesteps", kTimestepChannels, shape.noise_levels);
    const AdaLayerNormSingle::Result main = adaln_single.build(graph, levels);
    context.modulation = main.modulation;
    entry.embedded = main.embedded;
    if (prompt_adaln_single) {
        context.prompt = prompt_adaln_single->build(graph, input("sigma", kTimestepChannels, 1)).modulation;
    }
    context.rope = rope_input("rope", config.width(), shape.positions, config.axes());
    if (with_cross) {
        context.cross = cross_adaln_single.build(graph, levels).modulation;
        context.cross_gate = cross_gate_adaln_single.build(graph, input("cross_gate", kTimestepChannels, 1)).modulation;
        context.cross_rope = rope_input("cross_rope", cross_width, shape.times, 1);
    }
    return entry;
}

ggml_tensor * StreamHead::build_exit(Graph & graph, ggml_tensor * x, const Entry & entry) const {
    ggml_context * ctx = graph.ctx();
    const auto row = [&](size_t index) {  // ne: [width, distinct]
        ggml_tensor * table =
            ggml_view_1d(ctx, scale_shift_table, scale_shift_table->ne[0], index * scale_shift_table->nb[1]);
        return ggml_add(ctx, entry.embedded, table);
    };
    // The blocks use RMS norms; only here the mean is subtracted.
    ggml_tensor * y = modulate(graph, x, row(1), row(0), entry.context.rows, NormKind::Layer, norm_eps);
    return graph.probe(config.names.prefix + "proj_out", proj_out.build(graph, y));
}

Transformer Transformer::load(const Scope & scope, const TransformerConfig & config, const StreamUse & use) {
    Transformer model;
    const Scope cross_scope = scope.used_if(use.both());
    model.video = StreamHead::load(scope.used_if(use.video), cross_scope, config, config.video);
    if (config.audio) {
        model.audio = StreamHead::load(scope.used_if(use.audio), cross_scope, config, *config.audio);
    }
    model.cross_width = config.cross_width();
    for (int i = 0; i < config.num_layers; ++i) {
        model.blocks.push_back(TransformerBlock::load(scope.at("transformer_blocks", i), config, use));
    }
    return model;
}

void Transformer::build(Graph & graph, const TransformerRun & run) const {
    std::optional<StreamHead::Entry> video_entry;
    std::optional<StreamHead::Entry> audio_entry;
    BlockState state{};
    if (run.video) {
        video_entry = video.build_entry(graph, "video", *run.video, run.has_cross(), cross_width);
        state.video = video_entry->x;
    }
    if (run.audio) {
        audio_entry = audio->build_entry(graph, "audio", *run.audio, run.has_cross(), cross_width);
        state.audio = audio_entry->x;
    }
    // Modulation of all blocks takes nearly as many weights as a block, and without this would be a part with the
    // first.
    for (const auto * entry : {video_entry ? &*video_entry : nullptr, audio_entry ? &*audio_entry : nullptr}) {
        if (entry) {
            const StreamContext & context = entry->context;
            graph.end_segment(
                {entry->x, context.context, context.modulation, context.prompt, context.cross, context.cross_gate});
        }
    }
    for (size_t i = 0; i < blocks.size(); ++i) {
        const Graph::Scope scope = graph.scope(block_name(i));
        state = blocks[i].build(graph, state, video_entry ? &video_entry->context : nullptr,
                                audio_entry ? &audio_entry->context : nullptr,
                                run.stg_blocks.contains(static_cast<int>(i)));
        graph.end_segment({state.video, state.audio});
    }
    if (video_entry) {
        graph.output("video", video.build_exit(graph, state.video, *video_entry));
    }
    if (audio_entry) {
        graph.output("audio", audio->build_exit(graph, state.audio, *audio_entry));
    }
}

}  // namespace ltx
