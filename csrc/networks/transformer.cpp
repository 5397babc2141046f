#include "networks/transformer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "nn/timestep.h"

namespace ltx {

namespace {

// Different positions of a clip's tokens in a measurement, which is not told them: more than frames, rows and columns
// of usual clips, and 4 MB of tables.
constexpr int64_t kUsualPositions = 256;

// Tokens that lie in time alone, as those of sound, have a time each.
void suppose_positions(std::optional<StreamShape> & shape, const StreamConfig & stream) {
    if (shape) {
        const int64_t most = stream.axes() == 1 ? shape->tokens : kUsualPositions;
        shape->times = std::min(shape->tokens, most);
        shape->positions = std::min(stream.axes() * shape->tokens, most);
    }
}

const TransformerConfig & checked(const TransformerConfig & config) {
    config.check();
    return config;
}

void check_shape(const std::string & name, const HostView & view, const Shape & expected, const char * meaning) {
    if (view.shape != expected) {
        throw ShapeError("velocity: ", name, " has shape ", view.shape, ", expected ", expected, " ", meaning);
    }
}

void check_finite(const std::string & name, const HostView & view) {
    const auto wrong = std::ranges::find_if(view.values, [](float v) { return !std::isfinite(v); });
    if (wrong != view.values.end()) {
        throw ArgumentError("velocity: ", name, " holds a value that is not finite at element ",
                            wrong - view.values.begin());
    }
}

void check_unit_range(const std::string & name, std::span<const float> values) {
    for (const float value : values) {
        if (!(value >= 0.0f && value <= 1.0f)) {
            throw ArgumentError("velocity: ", name, " is ", value,
                                ", expected 0 to 1 (the model scales noise levels itself)");
        }
    }
}

}  // namespace

TransformerNetwork::TransformerNetwork(TensorTable table, const TransformerConfig & config, const StreamUse & use,
                                       std::shared_ptr<Backend> backend)
    : Network("transformer", std::move(table), std::move(backend), Streaming::Possible,
              [&](const Scope & scope) { return Transformer::load(scope, checked(config), use); }),
      config_(config),
      use_(use) {}

void TransformerNetwork::draft(Graph & graph) {
    // All streams, also where the weights of one are never loaded: nothing reads them here.
    const StreamShape shape{
        .tokens = 1, .context_rows = 1, .noise_levels = 1, .masked = false, .positions = 1, .times = 1};
    const std::optional<StreamShape> audio = config_.audio ? std::optional(shape) : std::nullopt;
    model().build(graph, {.video = shape, .audio = audio, .stg_blocks = {}, .isolate = false});
}

NetworkMemory TransformerNetwork::measure(TransformerRun run) {
    const auto turn = take_turn();
    check_use(run.video.has_value(), run.audio.has_value());
    suppose_positions(run.video, config_.video);
    if (run.audio) {
        suppose_positions(run.audio, *config_.audio);
    }
    return Network::measure({[&](Graph & graph) { model().build(graph, run); }});
}

void TransformerNetwork::check_use(bool video, bool audio) const {
    if (!video && !audio) {
        throw ArgumentError("velocity: expected video, audio or both, found neither");
    }
    if (audio && !config_.audio) {
        throw ArgumentError("velocity: the transformer has no audio stream");
    }
    if ((video && !use_.video) || (audio && !use_.audio)) {
        throw ArgumentError("velocity: the transformer was opened without its ", (use_.audio ? "video" : "audio"),
                            " stream");
    }
}

StreamShape TransformerNetwork::check(const std::string & name, const StreamConfig & stream,
                                      const Modality & modality) const {
    if (modality.latent.shape.size() != 2 || modality.latent.shape[0] < 1) {
        throw ShapeError("velocity: ", name, " latent has shape ", modality.latent.shape, ", expected (tokens, ",
                         stream.in_channels, ") with at least one token");
    }
    if (modality.context.shape.size() != 2 || modality.context.shape[0] < 1) {
        throw ShapeError("velocity: ", name, " context has shape ", modality.context.shape, ", expected (rows, ",
                         config_.input_context_width(stream), ") with at least one row");
    }
    const int64_t tokens = modality.latent.shape[0];
    const int64_t context_rows = modality.context.shape[0];
    check_shape(name + " latent", modality.latent, {tokens, stream.in_channels}, "(tokens, channels)");
    check_shape(name + " context", modality.context, {context_rows, config_.input_context_width(stream)},
                "(rows, width); was it encoded for another model?");
    check_shape(name + " timesteps", modality.timesteps, {tokens}, "(one per token of the latent)");
    check_shape(name + " positions", modality.positions, {stream.axes(), tokens, 2}, "(axes, tokens, start and end)");
    check_unit_range(name + " sigma", {&modality.sigma, 1});
    check_unit_range(name + " timesteps", modality.timesteps.values);
    check_finite(name + " latent", modality.latent);
    check_finite(name + " context", modality.context);
    check_finite(name + " positions", modality.positions);
    if (modality.attention_mask) {
        check_shape(name + " attention_mask", *modality.attention_mask, {tokens, tokens}, "(tokens, tokens)");
        check_unit_range(name + " attention_mask", modality.attention_mask->values);
    }
    bool marked = false;
    if (modality.keyframes_mask) {
        check_shape(name + " keyframes_mask", *modality.keyframes_mask, {tokens}, "(one per token of the latent)");
        check_unit_range(name + " keyframes_mask", modality.keyframes_mask->values);
        marked = std::ranges::any_of(modality.keyframes_mask->values, [](float mark) { return mark > 0.0f; });
    }
    const DistinctTimesteps levels(modality.timesteps.values);
    return {.tokens = tokens,
            .context_rows = context_rows,
            .noise_levels = static_cast<int64_t>(levels.values.size()),
            .masked = modality.attention_mask.has_value(),
            // Models without the embedding know no marks.
            .marked = marked && stream.names.prefix.empty() && config_.keyframes_embedding};
}

StreamShape TransformerNetwork::place(const std::string & name, const StreamConfig & stream, const Modality & modality,
                                      StreamTables & tables) const {
    StreamShape shape = check(name, stream, modality);
    tables.update(config_, stream, modality.positions.values, shape.tokens);
    shape.positions = tables.rope().count;
    shape.times = tables.cross_rope().count;
    return shape;
}

void TransformerNetwork::feed(const std::string & name, const Modality & modality, const StreamTables & tables,
                              const std::optional<Modality> & other, const TransformerRun & run) {
    const auto input = [&](const char * suffix) { return name + "." + suffix; };
    const auto sinusoid = [](float timestep) { return make_timestep_sinusoid({&timestep, 1}); };
    DistinctTimesteps levels(modality.timesteps.values);
    if (levels.values.size() > 1) {
        runner().set(input("rows"), levels.rows);
    }
    std::ranges::transform(levels.values, levels.values.begin(), [this](float t) { return scaled(t); });
    runner().set(input("latent"), modality.latent.values);
    runner().set(input("context"), modality.context.values);
    runner().set(input("timesteps"), make_timestep_sinusoid(levels.values));
    if (config_.cross_attention_adaln && config_.prompt_adaln) {
        runner().set(input("sigma"), sinusoid(scaled(modality.sigma)));
    }
    if (modality.attention_mask) {
        const std::vector<ggml_fp16_t> bias = make_mask_bias(modality.attention_mask->values);
        runner().set(input("mask"), bias.data(), bias.size() * sizeof(ggml_fp16_t));
    }
    if (name == "video" && run.video->marked) {
        std::vector<float> marks(modality.keyframes_mask->values.size());
        std::ranges::transform(modality.keyframes_mask->values, marks.begin(),
                               [](float mark) { return mark > 0.0f ? 1.0f : 0.0f; });
        runner().set(input("keyframes"), marks);
    }
    const auto set_rope = [&](const char * suffix, const RopeValues & values) {
        runner().set(input(suffix) + "_cos", values.cos);
        runner().set(input(suffix) + "_sin", values.sin);
        runner().set(input(suffix) + "_rows", values.rows);
    };
    set_rope("rope", tables.rope());
    if (run.has_cross()) {
        // The gate of what comes from the other stream follows that stream's noise level.
        const float factor = config_.av_gate_timestep_scale / config_.timestep_scale;
        runner().set(input("cross_gate"), sinusoid(scaled(other->sigma) * factor));
        set_rope("cross_rope", tables.cross_rope());
    }
}

Velocities TransformerNetwork::velocity(const std::optional<Modality> & video, const std::optional<Modality> & audio,
                                        const Perturbation & perturbation, const ProbeSet & probes) {
    const auto turn = take_turn();
    check_use(video.has_value(), audio.has_value());
    TransformerRun run;
    run.isolate = perturbation.isolate;
    for (const int block : perturbation.stg_blocks) {
        if (block < 0 || block >= config_.num_layers) {
            throw ArgumentError("velocity: stg_blocks names block ", block, ", expected 0 to ", config_.num_layers - 1);
        }
        run.stg_blocks.insert(block);
    }
    if (video) {
        run.video = place("video", config_.video, *video, video_tables_);
    }
    if (audio) {
        run.audio = place("audio", *config_.audio, *audio, audio_tables_);
    }
    check_probes("velocity", probes);

    load_weights();
    runner().prepare(run.key(), {.probes = probes}, [&](Graph & graph) { model().build(graph, run); });
    if (video) {
        feed("video", *video, video_tables_, audio, run);
    }
    if (audio) {
        feed("audio", *audio, audio_tables_, video, run);
    }
    compute_graph();

    Velocities result;
    if (video) {
        result.video = runner().fetch("video");
        result.video->shape = {run.video->tokens, config_.video.out_channels};
    }
    if (audio) {
        result.audio = runner().fetch("audio");
        result.audio->shape = {run.audio->tokens, config_.audio->out_channels};
    }
    result.probes = runner().fetch_probes();
    for (const std::string & name : probes) {
        if (!result.probes.contains(name)) {
            throw ArgumentError("velocity: probe '", name,
                                "' belongs to a part that this call leaves out (an absent stream, or attention "
                                "between streams that are isolated)");
        }
    }
    return result;
}

}  // namespace ltx
