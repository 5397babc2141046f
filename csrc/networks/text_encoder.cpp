#include "networks/text_encoder.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "networks/probe_names.h"

namespace ltx {

namespace {

// Graph nodes of one layer and of taking in its state, rounded up.
constexpr size_t kNodesPerLayer = 96;
constexpr size_t kNodesBesides = 512;

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

template <typename T>
void set_bytes(Runner & runner, const char * input, const std::vector<T> & values) {
    runner.set(input, values.data(), values.size() * sizeof(T));
}

}  // namespace

TextStage::TextStage(TensorTable table, const Gemma3Config & config, std::optional<Projection> projection,
                     const std::shared_ptr<Backend> & backend)
    : gemma_("text encoder", std::move(table), backend,
             [&](const Scope & scope) { return Gemma3::load(scope, config); }) {
    if (!projection) {
        return;
    }
    const FeatureExtractorConfig & features = projection->config;
    if (features.hidden_size != config.hidden_size || features.num_states != config.num_layers + 1) {
        throw ConfigError("text projection: made for " + std::to_string(features.num_states) + " states of width " +
                          std::to_string(features.hidden_size) + ", but the text encoder has " +
                          std::to_string(config.num_layers + 1) + " of width " + std::to_string(config.hidden_size) +
                          "; is it another model's text encoder?");
    }
    projection_.emplace("text projection", std::move(projection->table), backend,
                        [&](const Scope & scope) { return FeatureExtractor::load(scope, features); });
}

void TextStage::load() {
    const std::lock_guard lock(mutex_);
    load_weights();
}

void TextStage::load_weights() {
    gemma_.load();
    if (projection_) {
        projection_->load();
    }
}

uint64_t TextStage::weight_bytes() const {
    return gemma_.weights().stored_bytes() + (projection_ ? projection_->weights().stored_bytes() : 0);
}

uint64_t TextStage::activation_bytes() {
    const std::lock_guard lock(mutex_);
    return gemma_.runner().activation_bytes();
}

void TextStage::check_ids(const char * function, std::span<const int32_t> ids) const {
    if (ids.empty()) {
        throw ShapeError(std::string(function) + ": ids has shape (0,), expected at least one token");
    }
    const int64_t vocabulary = gemma_.model().config.vocab_size;
    for (size_t i = 0; i < ids.size(); ++i) {
        if (ids[i] < 0 || ids[i] >= vocabulary) {
            throw ArgumentError(std::string(function) + ": ids[" + std::to_string(i) + "] is " +
                                std::to_string(ids[i]) + ", expected 0 to " + std::to_string(vocabulary - 1) +
                                "; is the tokenizer another model's?");
        }
    }
}

RunOptions TextStage::run_options(const ProbeSet & probes) const {
    return {
        .probes = probes,
        .max_nodes = static_cast<size_t>(gemma_.model().config.num_layers) * kNodesPerLayer + kNodesBesides,
    };
}

void TextStage::build(Graph & graph, int64_t tokens, bool project) const {
    const Gemma3 & model = gemma_.model();
    Gemma3Inputs in{
        .ids = graph.input("ids", GGML_TYPE_I32, {tokens, 1, 1, 1}),
        .positions = graph.input("positions", GGML_TYPE_I32, {tokens, 1, 1, 1}),
        .causal_mask = graph.input("causal_mask", GGML_TYPE_F16, {tokens, tokens, 1, 1}),
    };
    if (tokens > model.config.sliding_window) {
        in.window_mask = graph.input("window_mask", GGML_TYPE_F16, {tokens, tokens, 1, 1});
    }
    if (!project) {
        model.build(graph, in, [&](int64_t index, ggml_tensor * state) { graph.output(state_name(index), state); });
        return;
    }
    FeatureAccumulator accumulator(graph, projection_->model(), tokens);
    model.build(graph, in, [&](int64_t index, ggml_tensor * state) { accumulator.add(index, state); });
    const auto features = accumulator.finish();
    graph.output("video", features.front());
    if (features.size() > 1) {
        graph.output("audio", features.back());
    }
}

void TextStage::stream_weights(PageCache cache) {
    const std::lock_guard lock(mutex_);
    gemma_.stream_weights(cache, projection_ ? std::vector<const WeightStore *>{&projection_->weights()}
                                             : std::vector<const WeightStore *>{});
}

StageMemory TextStage::measure(int64_t tokens) {
    const std::lock_guard lock(mutex_);
    gemma_.declare();
    std::vector<const WeightStore *> stores{&gemma_.weights()};
    if (projection_) {
        projection_->declare();
        stores.push_back(&projection_->weights());
    }
    StageMeter meter(std::move(stores), /*streams=*/true);
    meter.add(gemma_.runner().measure(
        run_options({}), [&](Graph & graph) { build(graph, tokens, /*project=*/projection_.has_value()); }));
    return meter.total();
}

void TextStage::run(const char * function, std::span<const int32_t> ids, const ProbeSet & probes, bool project) {
    check_ids(function, ids);
    load_weights();
    const Gemma3 & model = gemma_.model();
    const auto tokens = static_cast<int64_t>(ids.size());
    Runner & runner = gemma_.runner();
    runner.prepare((project ? "features " : "states ") + std::to_string(tokens), run_options(probes),
                   [&](Graph & graph) { build(graph, tokens, project); });
    std::vector<int32_t> positions(ids.size());
    std::iota(positions.begin(), positions.end(), 0);
    runner.set("ids", ids.data(), ids.size_bytes());
    runner.set("positions", positions);
    set_bytes(runner, "causal_mask", make_mask(tokens, tokens));
    if (tokens > model.config.sliding_window) {
        set_bytes(runner, "window_mask", make_mask(tokens, model.config.sliding_window));
    }
    runner.compute();
}

HostTensor TextStage::hidden_states(std::span<const int32_t> ids) {
    const std::lock_guard lock(mutex_);
    run("hidden_states", ids, {}, /*project=*/false);
    const Gemma3Config & config = gemma_.model().config;
    HostTensor states{{config.num_layers + 1, static_cast<int64_t>(ids.size()), config.hidden_size}, {}};
    states.values.reserve(static_cast<size_t>(element_count(states.shape)));
    for (int64_t i = 0; i <= config.num_layers; ++i) {
        const HostTensor state = gemma_.runner().fetch(state_name(i));
        states.values.insert(states.values.end(), state.values.begin(), state.values.end());
    }
    return states;
}

TextFeatures TextStage::encode(std::span<const int32_t> ids) {
    const std::lock_guard lock(mutex_);
    if (!projection_) {
        throw ArgumentError("encode: the text encoder was opened without a text projection");
    }
    run("encode", ids, {}, /*project=*/true);
    const FeatureExtractorConfig & config = projection_->model().config;
    const auto tokens = static_cast<int64_t>(ids.size());
    const Runner & runner = gemma_.runner();
    TextFeatures features{runner.fetch("video"),
                          runner.fetch(config.variant == FeatureVariant::V1 ? "video" : "audio")};
    features.video.shape = {tokens, config.video_width};
    features.audio.shape = {tokens, config.audio_width};
    return features;
}

std::map<std::string, HostTensor> TextStage::probe(std::span<const int32_t> ids, const ProbeSet & names) {
    const std::lock_guard lock(mutex_);
    check_probe_names("probe", names, probe_names());
    run("probe", ids, names, projection_.has_value());
    auto probes = gemma_.runner().fetch_probes();
    for (auto & [name, tensor] : probes) {
        const auto tokens = static_cast<int64_t>(ids.size());
        tensor.shape = {tokens, static_cast<int64_t>(tensor.values.size()) / tokens};
    }
    return probes;
}

std::vector<std::string> TextStage::probe_names() const {
    std::vector<std::string> names = gemma_.model().probe_names();
    if (projection_) {
        const auto more = projection_->model().probe_names();
        names.insert(names.end(), more.begin(), more.end());
    }
    return names;
}

}  // namespace ltx
