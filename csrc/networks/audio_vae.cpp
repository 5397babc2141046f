#include "networks/audio_vae.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "networks/probe_names.h"

namespace ltx {

namespace {

// Latent frames per run of the VAE, 10 s, and mel frames per run of the vocoder, 7.7 s.
constexpr int64_t kLatentChunk = 256;
constexpr int64_t kMelChunk = 768;

constexpr size_t kFusedNodes = 4096;
// Some 130 nodes for every anti-aliased activation and up to 90 for every convolution.
constexpr size_t kComposedNodes = 65536;

void expect_shape(const char * function, const char * argument, const Shape & shape, int64_t channels, int64_t bins,
                  const char * steps) {
    if (shape.size() != 3 || shape[0] != channels || shape[1] < 1 || shape[2] != bins) {
        throw ShapeError(std::string(function) + ": " + argument + " has shape " + to_string(shape) + ", expected (" +
                         std::to_string(channels) + ", " + steps + ", " + std::to_string(bins) + ")");
    }
}

RunOptions run_options(const AudioRunOptions & options, const Backend & backend) {
    const bool fused = backend.is_cpu() && !options.composed;
    return {.probes = options.probes,
            .form = options.composed ? OpForm::Composed : OpForm::Fused,
            .max_nodes = fused ? kFusedNodes : kComposedNodes};
}

// The equal parts that `length` frames run in.
struct Chunks {
    int64_t length;
    int64_t count;

    Chunks(const char * function, int64_t frames, int64_t usual, const AudioRunOptions & options) : length(frames) {
        if (options.chunk_frames < 0) {
            throw ArgumentError(std::string(function) + ": chunk_frames is " + std::to_string(options.chunk_frames) +
                                ", expected at least 1, or 0 for the usual choice");
        }
        const int64_t most = options.chunk_frames > 0 ? options.chunk_frames : usual;
        count = options.probes.empty() ? (frames + most - 1) / most : 1;
    }

    int64_t begin(int64_t chunk) const { return length * chunk / count; }

    // Frames that the runs see, with `before` and `behind` for context where there are so many.
    std::set<int64_t> lengths(int64_t before, int64_t behind) const {
        std::set<int64_t> seen;
        for (int64_t chunk = 0; chunk < count; ++chunk) {
            seen.insert(std::min(begin(chunk + 1) + behind, length) - std::max<int64_t>(begin(chunk) - before, 0));
        }
        return seen;
    }
};

// What the graphs of `build` for each length take.
template <typename Model, typename Build>
StageMemory measure_chunks(Component<Model> & component, const std::set<int64_t> & lengths, Build && build) {
    component.declare();
    StageMeter meter({&component.weights()});
    const RunOptions options = run_options({}, component.runner().backend());
    for (const int64_t length : lengths) {
        meter.add(component.runner().measure(options, [&](Graph & graph) { build(graph, length); }));
    }
    return meter.total();
}

// Index of (channel, step, bin) in a channels-last array of so many bins and channels.
size_t at(int64_t step, int64_t bin, int64_t channel, int64_t bins, int64_t channels) {
    return static_cast<size_t>((step * bins + bin) * channels + channel);
}

// Calls visit(planar index, step, bin, channel) for every value of a (channels, steps, bins) array.
template <typename Visit>
void for_values(const Shape & shape, Visit && visit) {
    size_t index = 0;
    for (int64_t channel = 0; channel < shape[0]; ++channel) {
        for (int64_t step = 0; step < shape[1]; ++step) {
            for (int64_t bin = 0; bin < shape[2]; ++bin) {
                visit(index++, step, bin, channel);
            }
        }
    }
}

}  // namespace

AudioDecodeStage::AudioDecodeStage(TensorTable table, const AudioVaeConfig & config,
                                   const std::shared_ptr<Backend> & backend)
    : component_("audio decoder", std::move(table), backend,
                 [&](const Scope & scope) { return AudioDecoder::load(scope, config); }) {}

void AudioDecodeStage::load() {
    const std::lock_guard lock(mutex_);
    component_.load();
}

void AudioDecodeStage::build(Graph & graph, int64_t frames) const {
    const AudioVaeConfig & config = component_.model().config;
    ggml_tensor * latent =
        graph.input("latent", GGML_TYPE_F32, {config.latent_channels, config.latent_bins, frames, 1});
    graph.output("mel", component_.model().build(graph, latent));
}

StageMemory AudioDecodeStage::measure(int64_t frames) {
    const std::lock_guard lock(mutex_);
    const Chunks chunks("decode", frames, kLatentChunk, {});
    return measure_chunks(component_, chunks.lengths(component_.model().reach_frames(), 0),
                          [&](Graph & graph, int64_t length) { build(graph, length); });
}

HostTensor AudioDecodeStage::decode(const HostView & latent, const AudioRunOptions & options,
                                    std::map<std::string, HostTensor> & probes) {
    const std::lock_guard lock(mutex_);
    const AudioDecoder & model = component_.model();
    const AudioVaeConfig & config = model.config;
    const int64_t channels = config.latent_channels;
    const int64_t bins = config.latent_bins;
    expect_shape("decode", "latent", latent.shape, channels, bins, "frames");
    check_probe_names("decode", options.probes, probe_names());
    const int64_t frames = latent.shape[1];
    const Chunks chunks("decode", frames, kLatentChunk, options);
    component_.load();

    // Statistics belong to the numbers of a token, which are ordered channel by channel.
    const std::vector<float> mean = component_.weights().read_f32(model.statistics.mean);
    const std::vector<float> deviation = component_.weights().read_f32(model.statistics.deviation);
    std::vector<float> values(latent.values.size());
    for_values(latent.shape, [&](size_t index, int64_t step, int64_t bin, int64_t channel) {
        const auto entry = static_cast<size_t>(channel * bins + bin);
        values[at(step, bin, channel, bins, channels)] = latent.values[index] * deviation[entry] + mean[entry];
    });

    HostTensor mel{{config.out_channels, config.mel_frames(frames), config.mel_bins}, {}};
    mel.values.resize(static_cast<size_t>(element_count(mel.shape)));
    Runner & runner = component_.runner();
    for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
        const int64_t begin = chunks.begin(chunk);
        const int64_t end = chunks.begin(chunk + 1);
        const int64_t first = std::max<int64_t>(begin - model.reach_frames(), 0);
        runner.prepare(std::to_string(end - first), run_options(options, runner.backend()),
                       [&](Graph & graph) { build(graph, end - first); });
        runner.set("latent", std::span<const float>(values).subspan(at(first, 0, 0, bins, channels),
                                                                    at(end - first, 0, 0, bins, channels)));
        runner.compute();
        const HostTensor part = runner.fetch("mel");
        // A part that starts at latent f gives the same frames as the whole from `f * factor` on.
        const int64_t offset = first == 0 ? 0 : config.mel_frames(first + 1) - 1;
        const int64_t from = begin == 0 ? 0 : config.mel_frames(begin);
        for_values({config.out_channels, config.mel_frames(end) - from, config.mel_bins},
                   [&](size_t, int64_t step, int64_t bin, int64_t channel) {
                       const int64_t row = from + step;
                       mel.values[static_cast<size_t>((channel * mel.shape[1] + row) * config.mel_bins + bin)] =
                           part.values[at(row - offset, bin, channel, config.mel_bins, config.out_channels)];
                   });
    }
    probes = runner.fetch_probes();
    return mel;
}

AudioEncodeStage::AudioEncodeStage(TensorTable table, const AudioVaeConfig & config,
                                   const std::shared_ptr<Backend> & backend)
    : component_("audio encoder", std::move(table), backend,
                 [&](const Scope & scope) { return AudioEncoder::load(scope, config); }) {}

void AudioEncodeStage::load() {
    const std::lock_guard lock(mutex_);
    component_.load();
}

void AudioEncodeStage::build(Graph & graph, int64_t steps) const {
    const AudioVaeConfig & config = component_.model().config;
    ggml_tensor * mel = graph.input("mel", GGML_TYPE_F32, {config.in_channels, config.mel_bins, steps, 1});
    graph.output("moments", component_.model().build(graph, mel));
}

StageMemory AudioEncodeStage::measure(int64_t steps) {
    const std::lock_guard lock(mutex_);
    const AudioEncoder & model = component_.model();
    const Chunks chunks("encode", model.config.latent_frames(steps), kLatentChunk, {});
    return measure_chunks(component_, chunks.lengths(model.reach_frames(), 0),
                          [&](Graph & graph, int64_t frames) { build(graph, model.config.mel_frames(frames)); });
}

HostTensor AudioEncodeStage::encode(const HostView & mel, const AudioRunOptions & options,
                                    std::map<std::string, HostTensor> & probes) {
    const std::lock_guard lock(mutex_);
    const AudioEncoder & model = component_.model();
    const AudioVaeConfig & config = model.config;
    expect_shape("encode", "mel", mel.shape, config.in_channels, config.mel_bins, "steps");
    check_probe_names("encode", options.probes, probe_names());
    const int64_t frames = config.latent_frames(mel.shape[1]);
    const Chunks chunks("encode", frames, kLatentChunk, options);
    component_.load();

    std::vector<float> values(mel.values.size());
    for_values(mel.shape, [&](size_t index, int64_t step, int64_t bin, int64_t channel) {
        values[at(step, bin, channel, config.mel_bins, config.in_channels)] = mel.values[index];
    });
    const std::vector<float> mean = component_.weights().read_f32(model.statistics.mean);
    const std::vector<float> deviation = component_.weights().read_f32(model.statistics.deviation);
    const int64_t bins = config.latent_bins;
    HostTensor latent{{config.latent_channels, frames, bins}, {}};
    latent.values.resize(static_cast<size_t>(element_count(latent.shape)));
    Runner & runner = component_.runner();
    for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
        const int64_t begin = chunks.begin(chunk);
        const int64_t end = chunks.begin(chunk + 1);
        const int64_t first = std::max<int64_t>(begin - model.reach_frames(), 0);
        // A latent frame depends on nothing behind the first mel frame that it stands for, so a part ends there.
        const int64_t steps = config.mel_frames(end - first);
        const int64_t first_step = config.mel_frames(first + 1) - 1;
        runner.prepare(std::to_string(steps), run_options(options, runner.backend()),
                       [&](Graph & graph) { build(graph, steps); });
        runner.set("mel",
                   std::span<const float>(values).subspan(at(first_step, 0, 0, config.mel_bins, config.in_channels),
                                                          at(steps, 0, 0, config.mel_bins, config.in_channels)));
        runner.compute();
        const HostTensor moments = runner.fetch("moments");
        // Only the means of the distribution, which are the first channels.
        for_values({config.latent_channels, end - begin, bins},
                   [&](size_t, int64_t step, int64_t bin, int64_t channel) {
                       const auto entry = static_cast<size_t>(channel * bins + bin);
                       const size_t from = at(begin - first + step, bin, channel, bins, 2 * config.latent_channels);
                       latent.values[static_cast<size_t>((channel * frames + begin + step) * bins + bin)] =
                           (moments.values[from] - mean[entry]) / deviation[entry];
                   });
    }
    probes = runner.fetch_probes();
    return latent;
}

VocodeStage::VocodeStage(TensorTable table, const VocoderConfig & config, const std::shared_ptr<Backend> & backend)
    : component_("vocoder", std::move(table), backend,
                 [&](const Scope & scope) { return Vocoder::load(scope, config); }) {}

void VocodeStage::load() {
    const std::lock_guard lock(mutex_);
    component_.load();
}

void VocodeStage::build(Graph & graph, int64_t steps) const {
    const Vocoder & model = component_.model();
    ggml_tensor * mel = graph.input("mel", GGML_TYPE_F32, {model.config.generator.in_channels, steps, 1, 1});
    ggml_tensor * taps = nullptr;
    if (model.bwe) {
        taps = graph.input("resampler", GGML_TYPE_F32, {2 * kResamplerReach + 1, model.bwe->config.ratio, 1, 1});
    }
    graph.output("wave", model.build(graph, mel, taps));
}

StageMemory VocodeStage::measure(int64_t steps) {
    const std::lock_guard lock(mutex_);
    const Chunks chunks("vocode", steps, kMelChunk, {});
    const int64_t reach = component_.model().reach_frames();
    return measure_chunks(component_, chunks.lengths(reach, reach),
                          [&](Graph & graph, int64_t length) { build(graph, length); });
}

void VocodeStage::run(const HostView & mel, int64_t first, int64_t count, const AudioRunOptions & options) {
    const Vocoder & model = component_.model();
    const int64_t channels = mel.shape[0];
    const int64_t bins = mel.shape[2];
    Runner & runner = component_.runner();
    runner.prepare(std::to_string(count), run_options(options, runner.backend()),
                   [&](Graph & graph) { build(graph, count); });
    std::vector<float> values(static_cast<size_t>(channels * bins * count));
    for_values({channels, count, bins}, [&](size_t, int64_t step, int64_t bin, int64_t channel) {
        values[at(step, channel, bin, channels, bins)] =
            mel.values[static_cast<size_t>((channel * mel.shape[1] + first + step) * bins + bin)];
    });
    runner.set("mel", values);
    if (model.bwe) {
        runner.set("resampler", resampler_taps(model.bwe->config.ratio));
    }
    runner.compute();
}

HostTensor VocodeStage::vocode(const HostView & mel, const AudioRunOptions & options,
                               std::map<std::string, HostTensor> & probes) {
    const std::lock_guard lock(mutex_);
    const Vocoder & model = component_.model();
    const VocoderConfig & config = model.config;
    const int64_t channels = config.generator.out_channels;
    expect_shape("vocode", "mel", mel.shape, channels, config.generator.in_channels / channels, "steps");
    check_probe_names("vocode", options.probes, probe_names());
    const int64_t steps = mel.shape[1];
    const Chunks chunks("vocode", steps, kMelChunk, options);
    component_.load();

    HostTensor wave{{channels, steps * config.rate()}, {}};
    wave.values.resize(static_cast<size_t>(element_count(wave.shape)));
    const int64_t reach = model.reach_frames();
    for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
        const int64_t begin = chunks.begin(chunk);
        const int64_t end = chunks.begin(chunk + 1);
        const int64_t first = std::max<int64_t>(begin - reach, 0);
        run(mel, first, std::min(end + reach, steps) - first, options);
        const HostTensor part = component_.runner().fetch("wave");
        for (int64_t sample = begin * config.rate(); sample < end * config.rate(); ++sample) {
            for (int64_t channel = 0; channel < channels; ++channel) {
                wave.values[static_cast<size_t>(channel * wave.shape[1] + sample)] =
                    part.values[static_cast<size_t>((sample - first * config.rate()) * channels + channel)];
            }
        }
    }
    probes = component_.runner().fetch_probes();
    return wave;
}

}  // namespace ltx
