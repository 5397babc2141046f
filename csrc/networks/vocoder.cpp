#include "networks/vocoder.h"

#include <algorithm>

#include "networks/clip_layout.h"

namespace ltx {

namespace {

// Mel frames per run, 7.7 s.
constexpr int64_t kMelChunk = 768;

// (channels, steps, bins) -> (steps, channels, bins), as the network takes it.
std::vector<float> steps_first(const HostView & mel) {
    const int64_t channels = mel.shape[0];
    const int64_t steps = mel.shape[1];
    const int64_t bins = mel.shape[2];
    std::vector<float> values;
    values.reserve(mel.values.size());
    for (int64_t row = 0; row < steps * channels; ++row) {
        const auto from = mel.values.begin() + ((row % channels) * steps + row / channels) * bins;
        values.insert(values.end(), from, from + bins);
    }
    return values;
}

}  // namespace

VocoderNetwork::VocoderNetwork(TensorTable table, const VocoderConfig & config, std::shared_ptr<Backend> backend)
    : Network("vocoder", std::move(table), std::move(backend), Streaming::Never,
              [&](const Scope & scope) { return Vocoder::load(scope, config); }) {}

ChunkRule VocoderNetwork::chunk_rule() const {
    return {.usual = kMelChunk, .before = reach_frames(), .behind = reach_frames()};
}

void VocoderNetwork::build(Graph & graph, int64_t steps) const {
    ggml_tensor * mel = graph.input("mel", GGML_TYPE_F32, {model().config.generator.in_channels, steps, 1, 1});
    ggml_tensor * taps = nullptr;
    if (model().bwe) {
        taps = graph.input("resampler", GGML_TYPE_F32, {2 * kResamplerReach + 1, model().bwe->config.ratio, 1, 1});
    }
    graph.output("wave", model().build(graph, mel, taps));
}

void VocoderNetwork::draft(Graph & graph) {
    build(graph, 1);
}

NetworkMemory VocoderNetwork::measure(int64_t steps) {
    const auto turn = take_turn();
    std::vector<Build> builds;
    for (const int64_t length : lengths_seen("vocode", steps, chunk_rule())) {
        builds.emplace_back([this, length](Graph & graph) { build(graph, length); });
    }
    return Network::measure(builds);
}

HostTensor VocoderNetwork::vocode(const HostView & mel, const AudioRunOptions & options,
                                  std::map<std::string, HostTensor> & probes) {
    const auto turn = take_turn();
    const VocoderConfig & config = model().config;
    const int64_t channels = config.generator.out_channels;
    expect_sound_shape("vocode", "mel", mel.shape, channels, config.generator.in_channels / channels, "steps");
    check_probes("vocode", options.probes);
    const int64_t steps = mel.shape[1];
    const auto chunks = split_sound("vocode", steps, chunk_rule(), options);
    load_weights();

    const std::vector<float> values = steps_first(mel);
    const int64_t samples_row = config.rate() * channels;
    HostTensor wave{{steps * config.rate(), channels}, {}};
    for (const AudioChunk & chunk : chunks) {
        runner().prepare(std::to_string(chunk.seen()), run_options(options),
                         [&](Graph & graph) { build(graph, chunk.seen()); });
        runner().set("mel", rows_of(values, chunk.first, chunk.last, config.generator.in_channels));
        if (model().bwe) {
            runner().set("resampler", resampler_taps(model().bwe->config.ratio));
        }
        compute_graph();
        const HostTensor part = runner().fetch("wave");
        const auto rows = rows_of(part.values, chunk.begin - chunk.first, chunk.end - chunk.first, samples_row);
        wave.values.insert(wave.values.end(), rows.begin(), rows.end());
    }
    probes = runner().fetch_probes();
    return to_channels_first(wave);
}

}  // namespace ltx
