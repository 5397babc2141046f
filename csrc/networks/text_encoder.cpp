#include "networks/text_encoder.h"

#include "base/error.h"
#include "networks/text_inputs.h"

namespace ltx {

namespace {

std::string state_name(int64_t index) {
    return "state." + std::to_string(index);
}

using Projection = TextEncoderNetwork::Projection;

std::vector<NamedTable> tables_of(TensorTable table, const std::optional<Projection> & projection) {
    std::vector<NamedTable> tables{{"text encoder", std::move(table)}};
    if (projection) {
        tables.push_back({"text projection", projection->table});
    }
    return tables;
}

// What both families have in common.
struct TextSizes {
    int64_t num_layers;
    int64_t hidden_size;
    int64_t vocab_size;
};

TextSizes sizes_of(const ProjectedText & text) {
    return std::visit(
        [](const auto & gemma) -> TextSizes {
            return {gemma.config.num_layers, gemma.config.hidden_size, gemma.config.vocab_size};
        },
        text.gemma);
}

ProjectedText bind_text(const std::vector<Scope> & roots, const GemmaConfig & config,
                        const std::optional<Projection> & projection) {
    ProjectedText text;
    if (const auto * gemma3 = std::get_if<Gemma3Config>(&config)) {
        text.gemma = Gemma3::load(roots.front(), *gemma3);
    } else {
        text.gemma = Gemma4::load(roots.front(), std::get<Gemma4Config>(config));
    }
    if (!projection) {
        return text;
    }
    const FeatureExtractorConfig & features = projection->config;
    const TextSizes sizes = sizes_of(text);
    if (features.hidden_size != sizes.hidden_size || features.num_states != sizes.num_layers + 1) {
        throw ConfigError("text projection: made for ", features.num_states, " states of width ", features.hidden_size,
                          ", but the text encoder has ", sizes.num_layers + 1, " of width ", sizes.hidden_size,
                          "; is it another model's text encoder?");
    }
    text.projection = FeatureExtractor::load(roots.back(), features);
    return text;
}

}  // namespace

TextEncoderNetwork::TextEncoderNetwork(TensorTable table, const GemmaConfig & config,
                                       std::optional<Projection> projection, std::shared_ptr<Backend> backend)
    : Network(tables_of(std::move(table), projection), std::move(backend), Streaming::Possible,
              [&](const std::vector<Scope> & roots) { return bind_text(roots, config, projection); }) {}

void TextEncoderNetwork::check_ids(const char * function, std::span<const int32_t> ids) const {
    if (ids.empty()) {
        throw ShapeError(function, ": ids has shape (0,), expected at least one token");
    }
    const int64_t vocabulary = sizes_of(model()).vocab_size;
    for (size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] < 0 || ids[i] >= vocabulary) {
            throw ArgumentError(function, ": ids[", i, "] is ", ids[i], ", expected 0 to ", vocabulary - 1,
                                "; is the tokenizer another model's?");
        }
    }
}

void TextEncoderNetwork::build(Graph & graph, int64_t tokens, bool project) const {
    const auto visit_states = [&](const auto & visit) {
        std::visit([&](const auto & gemma) { gemma.build(graph, inputs_of(graph, gemma, whole(tokens)), visit); },
                   model().gemma);
    };
    if (!project) {
        visit_states([&](int64_t index, ggml_tensor * state) { graph.output(state_name(index), state); });
        return;
    }
    FeatureAccumulator accumulator(graph, *model().projection, tokens);
    visit_states([&](int64_t index, ggml_tensor * state) { accumulator.add(index, state); });
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
    const auto tokens = static_cast<int64_t>(ids.size());
    runner().prepare((project ? "features " : "states ") + std::to_string(tokens), {.probes = probes},
                     [&](Graph & graph) { build(graph, tokens, project); });
    std::visit([&](const auto & gemma) { set_inputs(runner(), gemma, ids, whole(tokens)); }, model().gemma);
    compute_graph();
}

HostTensor TextEncoderNetwork::hidden_states(std::span<const int32_t> ids) {
    const auto turn = take_turn();
    run("hidden_states", ids, {}, /*project=*/false);
    const TextSizes sizes = sizes_of(model());
    HostTensor states{{sizes.num_layers + 1, static_cast<int64_t>(ids.size()), sizes.hidden_size}, {}};
    states.values.reserve(static_cast<size_t>(element_count(states.shape)));
    for (int64_t i = 0; i <= sizes.num_layers; ++i) {
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
    TextFeatures features{runner().fetch("video"), {}};
    features.video.shape = {tokens, config.video_width};
    if (config.audio_width > 0) {
        features.audio = runner().fetch(config.variant == FeatureVariant::V1 ? "video" : "audio");
    }
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
