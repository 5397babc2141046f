#include "networks/audio_vae.h"

#include <algorithm>

#include "networks/clip_layout.h"

namespace ltx {

namespace {

// Latent frames per run, 10 s.
constexpr int64_t kLatentChunk = 256;

// Statistics belong to the numbers of a token, which are ordered channel by channel; graphs have channels last.
std::vector<float> channels_last(std::vector<float> statistic, const AudioVaeConfig & config) {
    return to_channels_last(HostView{{config.latent_channels, config.latent_bins}, statistic});
}

}  // namespace

AudioDecoderNetwork::AudioDecoderNetwork(TensorTable table, const AudioVaeConfig & config,
                                         std::shared_ptr<Backend> backend)
    : Network("audio decoder", std::move(table), std::move(backend), Streaming::Never,
              [&](const Scope & scope) { return AudioDecoder::load(scope, config); }) {}

void AudioDecoderNetwork::build(Graph & graph, int64_t frames) const {
    const AudioVaeConfig & config = model().config;
    ggml_tensor * latent =
        graph.input("latent", GGML_TYPE_F32, {config.latent_channels, config.latent_bins, frames, 1});
    graph.output("mel", model().build(graph, latent));
}

void AudioDecoderNetwork::draft(Graph & graph) {
    build(graph, 2);
}

NetworkMemory AudioDecoderNetwork::measure(int64_t frames) {
    const auto turn = take_turn();
    std::vector<Build> builds;
    for (const int64_t length : lengths_seen("decode", frames, {kLatentChunk, model().reach_frames()})) {
        builds.emplace_back([this, length](Graph & graph) { build(graph, length); });
    }
    return Network::measure(builds);
}

std::vector<float> AudioDecoderNetwork::denormalised(const HostView & latent) const {
    const std::vector<float> mean = channels_last(read_f32(model().statistics.mean), model().config);
    const std::vector<float> deviation = channels_last(read_f32(model().statistics.deviation), model().config);
    std::vector<float> values = to_channels_last(latent);
    for (size_t i = 0; i < values.size(); ++i) {
        values[i] = values[i] * deviation[i % deviation.size()] + mean[i % mean.size()];
    }
    return values;
}

HostTensor AudioDecoderNetwork::decode(const HostView & latent, const AudioRunOptions & options,
                                       std::map<std::string, HostTensor> & probes) {
    const auto turn = take_turn();
    const AudioVaeConfig & config = model().config;
    expect_sound_shape("decode", "latent", latent.shape, config.latent_channels, config.latent_bins, "frames");
    check_probes("decode", options.probes);
    const auto chunks = split_sound("decode", latent.shape[1], {kLatentChunk, model().reach_frames()}, options);
    load_weights();

    const std::vector<float> values = denormalised(latent);
    const int64_t mel_row = config.mel_bins * config.out_channels;
    HostTensor mel{{0, config.mel_bins, config.out_channels}, {}};
    for (const AudioChunk & chunk : chunks) {
        runner().prepare(std::to_string(chunk.seen()), run_options(options),
                         [&](Graph & graph) { build(graph, chunk.seen()); });
        runner().set("latent", rows_of(values, chunk.first, chunk.last, config.token_size()));
        compute_graph();
        const HostTensor part = runner().fetch("mel");
        // A part that starts at latent f gives the same frames as the whole from `f * factor` on.
        const int64_t offset = chunk.first == 0 ? 0 : config.mel_frames(chunk.first + 1) - 1;
        const int64_t from = chunk.begin == 0 ? 0 : config.mel_frames(chunk.begin);
        const auto rows = rows_of(part.values, from - offset, config.mel_frames(chunk.end) - offset, mel_row);
        mel.values.insert(mel.values.end(), rows.begin(), rows.end());
    }
    probes = runner().fetch_probes();
    mel.shape[0] = config.mel_frames(latent.shape[1]);
    return to_channels_first(mel);
}

AudioEncoderNetwork::AudioEncoderNetwork(TensorTable table, const AudioVaeConfig & config,
                                         std::shared_ptr<Backend> backend)
    : Network("audio encoder", std::move(table), std::move(backend), Streaming::Never,
              [&](const Scope & scope) { return AudioEncoder::load(scope, config); }) {}

void AudioEncoderNetwork::build(Graph & graph, int64_t steps) const {
    const AudioVaeConfig & config = model().config;
    ggml_tensor * mel = graph.input("mel", GGML_TYPE_F32, {config.in_channels, config.mel_bins, steps, 1});
    graph.output("moments", model().build(graph, mel));
}

void AudioEncoderNetwork::draft(Graph & graph) {
    build(graph, model().config.mel_frames(2));
}

NetworkMemory AudioEncoderNetwork::measure(int64_t steps) {
    const auto turn = take_turn();
    const AudioVaeConfig & config = model().config;
    std::vector<Build> builds;
    for (const int64_t frames :
         lengths_seen("encode", config.latent_frames(steps), {kLatentChunk, model().reach_frames()})) {
        builds.emplace_back([this, &config, frames](Graph & graph) { build(graph, config.mel_frames(frames)); });
    }
    return Network::measure(builds);
}

HostTensor AudioEncoderNetwork::encode(const HostView & mel, const AudioRunOptions & options,
                                       std::map<std::string, HostTensor> & probes) {
    const auto turn = take_turn();
    const AudioVaeConfig & config = model().config;
    expect_sound_shape("encode", "mel", mel.shape, config.in_channels, config.mel_bins, "steps");
    check_probes("encode", options.probes);
    const int64_t frames = config.latent_frames(mel.shape[1]);
    const auto chunks = split_sound("encode", frames, {kLatentChunk, model().reach_frames()}, options);
    load_weights();

    const std::vector<float> values = to_channels_last(mel);
    const int64_t mel_row = config.mel_bins * config.in_channels;
    const int64_t channels = config.latent_channels;
    HostTensor latent{{frames, config.latent_bins, channels}, {}};
    for (const AudioChunk & chunk : chunks) {
        // A latent frame depends on nothing behind the first mel frame that it stands for, so a part ends there.
        const int64_t steps = config.mel_frames(chunk.seen());
        const int64_t first_step = config.mel_frames(chunk.first + 1) - 1;
        runner().prepare(std::to_string(steps), run_options(options), [&](Graph & graph) { build(graph, steps); });
        runner().set("mel", rows_of(values, first_step, first_step + steps, mel_row));
        compute_graph();
        const HostTensor moments = runner().fetch("moments");
        // Only the means of the distribution, which are the first channels.
        for (int64_t place = (chunk.begin - chunk.first) * config.latent_bins;
             place < (chunk.end - chunk.first) * config.latent_bins; ++place) {
            const auto means = moments.values.begin() + place * 2 * channels;
            latent.values.insert(latent.values.end(), means, means + channels);
        }
    }
    const std::vector<float> mean = channels_last(read_f32(model().statistics.mean), config);
    const std::vector<float> deviation = channels_last(read_f32(model().statistics.deviation), config);
    for (size_t i = 0; i < latent.values.size(); ++i) {
        latent.values[i] = (latent.values[i] - mean[i % mean.size()]) / deviation[i % deviation.size()];
    }
    probes = runner().fetch_probes();
    return to_channels_first(latent);
}

}  // namespace ltx
