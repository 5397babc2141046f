#include "networks/text_encoder.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace ltx {

namespace {

std::string state_name(int64_t index) {
    return "state." + std::to_string(index);
}

// Query i sees key j where j <= i and i - j < window. (queries, keys)
std::vector<ggml_fp16_t> make_mask(int64_t tokens, int64_t window) {
    const ggml_fp16_t seen = ggml_fp32_to_fp16(0.0f);
    const ggml_fp16_t hidden = ggml_fp32_to_fp16(-std::numeric_limits<float>::infinity());
    std::vector<ggml_fp16_t> mask(static_cast<size_t>(tokens * tokens), hidden);
    for (int64_t i = 0; i < tokens; ++i) {
        for (int64_t j = std::max<int64_t>(0, i - window + 1); j <= i; ++j) {
            mask[static_cast<size_t>(i * tokens + j)] = seen;
        }
    }
    return mask;
}

using Projection = TextEncoderNetwork::Projection;

std::vector<NamedTable> tables_of(TensorTable table, const std::optional<Projection> & projection) {
    std::vector<NamedTable> tables{{"text encoder", std::move(table)}};
    if (projection) {
        tables.push_back({"text projection", projection->table});
    }
    return tables;
}

ProjectedText bind_text(const std::vector<Scope> & roots, const Gemma3Config & config,
                        const std::optional<Projection> & projection) {
    ProjectedText text{Gemma3::load(roots.front(), config), std::nullopt};
    if (!projection) {
        return text;
    }
    const FeatureExtractorConfig & features = projection->config;
    if (features.hidden_size != config.hidden_size || features.num_states != config.num_layers + 1) {
        throw ConfigError("text projection: made for ", features.num_states, " states of width ", features.hidden_size,
                          ", but the text encoder has ", config.num_layers + 1, " of width ", config.hidden_size,
                          "; is it another model's text encoder?");
    }
    text.projection = FeatureExtractor::load(roots.back(), features);
    return text;
}

template <typename T>
void set_bytes(Runner & runner, const char * input, const std::vector<T> & values) {
    runner.set(input, values.data(), values.size() * sizeof(T));
}

}  // namespace

TextEncoderNetwork::TextEncoderNetwork(TensorTable table, const Gemma3Config & config,
                                       std::optional<Projection> projection, std::shared_ptr<Backend> backend)
    : Network(tables_of(std::move(table), projection), std::move(backend), Streaming::Possible,
              [&](const std::vector<Scope> & roots) { return bind_text(roots, config, projection); }) {}

void TextEncoderNetwork::check_ids(const char * function, std::span<const int32_t> ids) const {
    if (ids.empty()) {
        throw ShapeError(function, ": ids has shape (0,), expected at least one token");
    }
    const int64_t vocabulary = model().gemma.config.vocab_size;
    for (size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] < 0 || ids[i] >= vocabulary) {
            throw ArgumentError(function, ": ids[", i, "] is ", ids[i], ", expected 0 to ", vocabulary - 1,
                                "; is the tokenizer another model's?");
        }
    }
}

void TextEncoderNetwork::build(Graph & graph, int64_t tokens, bool project) const {
    const Gemma3 & gemma = model().gemma;
    Gemma3Inputs in{
        .ids = graph.input("ids", GGML_TYPE_I32, {tokens, 1, 1, 1}),
        .positions = graph.input("positions", GGML_TYPE_I32, {tokens, 1, 1, 1}),
        .causal_mask = graph.input("causal_mask", GGML_TYPE_F16, {tokens, tokens, 1, 1}),
    };
    if (tokens > gemma.config.sliding_window) {
        in.window_mask = graph.input("window_mask", GGML_TYPE_F16, {tokens, tokens, 1, 1});
    }
    if (!project) {
        gemma.build(graph, in, [&](int64_t index, ggml_tensor * state) { graph.output(state_name(index), state); });
        return;
    }
    FeatureAccumulator accumulator(graph, *model().projection, tokens);
    gemma.build(graph, in, [&](int64_t index, ggml_tensor * state) { accumulator.add(index, state); });
    const auto features = accumulator.finish();
    graph.output("video", features.front());
    if (features.size() > 1) {
        graph.output("audio", features.back());
    }
}

void TextEncoderNetwork::draft(Graph & graph) {
    build(graph, 2, model().projection.has_value());
}

NetworkMemory TextEncoderNetwork::measure(int64_t tokens) {
    const auto turn = take_turn();
    return Network::measure({[&](Graph & graph) { build(graph, tokens, model().projection.has_value()); }});
}

void TextEncoderNetwork::run(const char * function, std::span<const int32_t> ids, const ProbeSet & probes,
                             bool project) {
    check_ids(function, ids);
    load_weights();
    const Gemma3 & gemma = model().gemma;
    const auto tokens = static_cast<int64_t>(ids.size());
    runner().prepare((project ? "features " : "states ") + std::to_string(tokens), {.probes = probes},
                     [&](Graph & graph) { build(graph, tokens, project); });
    std::vector<int32_t> positions(ids.size());
    std::iota(positions.begin(), positions.end(), 0);
    runner().set("ids", ids.data(), ids.size_bytes());
    runner().set("positions", positions);
    set_bytes(runner(), "causal_mask", make_mask(tokens, tokens));
    if (tokens > gemma.config.sliding_window) {
        set_bytes(runner(), "window_mask", make_mask(tokens, gemma.config.sliding_window));
    }
    runner().compute();
}

HostTensor TextEncoderNetwork::hidden_states(std::span<const int32_t> ids) {
    const auto turn = take_turn();
    run("hidden_states", ids, {}, /*project=*/false);
    const Gemma3Config & config = model().gemma.config;
    HostTensor states{{config.num_layers + 1, static_cast<int64_t>(ids.size()), config.hidden_size}, {}};
    states.values.reserve(static_cast<size_t>(element_count(states.shape)));
    for (int64_t i = 0; i <= config.num_layers; ++i) {
        const HostTensor state = runner().fetch(state_name(i));
        states.values.insert(states.values.end(), state.values.begin(), state.values.end());
    }
    return states;
}

TextFeatures TextEncoderNetwork::encode(std::span<const int32_t> ids) {
    const auto turn = take_turn();
    if (!model().projection) {
        throw ArgumentError("encode: the text encoder was opened without a text projection");
    }
    run("encode", ids, {}, /*project=*/true);
    const FeatureExtractorConfig & config = model().projection->config;
    const auto tokens = static_cast<int64_t>(ids.size());
    TextFeatures features{runner().fetch("video"),
                          runner().fetch(config.variant == FeatureVariant::V1 ? "video" : "audio")};
    features.video.shape = {tokens, config.video_width};
    features.audio.shape = {tokens, config.audio_width};
    return features;
}

std::map<std::string, HostTensor> TextEncoderNetwork::probe(std::span<const int32_t> ids, const ProbeSet & names) {
    const auto turn = take_turn();
    check_probes("probe", names);
    run("probe", ids, names, model().projection.has_value());
    auto probes = runner().fetch_probes();
    for (auto & [name, tensor] : probes) {
        const auto tokens = static_cast<int64_t>(ids.size());
        tensor.shape = {tokens, static_cast<int64_t>(tensor.values.size()) / tokens};
    }
    return probes;
}

}  // namespace ltx
