#include "models/vocoder/vocoder.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "graph/not_finite.h"
#include "graph/product.h"

namespace ltx {

namespace {

constexpr float kMelFloor = 1e-5f;

// Planar signals cut into overlapping frames: F32 [n, channels] -> F32 [size, frames, channels].
ggml_tensor * cut_frames(ggml_context * ctx, ggml_tensor * planar, int64_t size, int64_t hop) {
    // Only the kernel's shape is looked at.
    ggml_tensor * kernel = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, size, 1, 1);
    ggml_tensor * signals = ggml_reshape_3d(ctx, planar, planar->ne[0], 1, planar->ne[1]);
    ggml_tensor * frames =
        ggml_im2col(ctx, kernel, signals, static_cast<int>(hop), 0, 0, 0, 1, 0, /*is_2D=*/false, GGML_TYPE_F32);
    return ggml_reshape_3d(ctx, frames, size, ggml_nelements(frames) / size / planar->ne[1], planar->ne[1]);
}

// Every signal continued by its first and last value: F32 [n, channels] -> F32 [n + 2 * count, channels].
ggml_tensor * continue_edges(ggml_context * ctx, ggml_tensor * planar, int64_t count) {
    const int64_t channels = planar->ne[1];
    ggml_tensor * first = ggml_view_2d(ctx, planar, 1, channels, planar->nb[1], 0);
    ggml_tensor * last =
        ggml_view_2d(ctx, planar, 1, channels, planar->nb[1], static_cast<size_t>(planar->ne[0] - 1) * planar->nb[0]);
    first = ggml_repeat_4d(ctx, ggml_cont(ctx, first), count, channels, 1, 1);
    last = ggml_repeat_4d(ctx, ggml_cont(ctx, last), count, channels, 1, 1);
    return ggml_concat(ctx, ggml_concat(ctx, first, planar, 0), last, 0);
}

ggml_tensor * resample(Graph & graph, ggml_tensor * planar, ggml_tensor * taps) {
    ggml_context * ctx = graph.ctx();
    ggml_tensor * frames = cut_frames(ctx, continue_edges(ctx, planar, kResamplerReach), taps->ne[0], 1);
    ggml_tensor * phases = product(graph, taps, frames);  // ne: [ratio, n, channels]
    return ggml_reshape_2d(ctx, phases, planar->ne[0] * taps->ne[1], planar->ne[1]);
}

}  // namespace

std::vector<float> resampler_taps(int64_t ratio) {
    constexpr double kPi = 3.14159265358979323846;
    constexpr double kCutoff = 0.99;
    constexpr double kZeroCrossings = 6.0;
    constexpr int64_t kTaps = 2 * kResamplerReach + 1;
    std::vector<float> taps;
    for (int64_t phase = 0; phase < ratio; ++phase) {
        for (int64_t i = 0; i < kTaps; ++i) {
            const double distance =
                static_cast<double>(phase) / static_cast<double>(ratio) + static_cast<double>(kResamplerReach - i);
            const double t = kCutoff * distance;
            const double window = std::cos(kPi * std::clamp(t, -kZeroCrossings, kZeroCrossings) / (2 * kZeroCrossings));
            const double sinc = t == 0.0 ? 1.0 : std::sin(kPi * t) / (kPi * t);
            taps.push_back(static_cast<float>(kCutoff * sinc * window * window));
        }
    }
    return taps;
}

BandwidthExtension BandwidthExtension::load(const Scope & scope, const ExtensionConfig & config) {
    const Scope stft = scope.at("mel_stft");
    const Shape basis{config.n_fft + 2, 1, config.n_fft};
    // Files carry the way back too, which nothing here takes.
    stft.require("stft_fn.inverse_basis", basis, WeightKind::Vector);
    return {
        .config = config,
        .generator = Generator::load(scope.at("bwe_generator"), config.generator),
        .forward_basis = stft.require("stft_fn.forward_basis", basis, WeightKind::Vector),
        .mel_basis = stft.require("mel_basis", {config.mel_bins, config.n_fft / 2 + 1}, WeightKind::Vector),
    };
}

// planar: F32 [n, channels] -> F32 [channels * mel_bins, n / hop], channels slow.
ggml_tensor * BandwidthExtension::log_mel(Graph & graph, ggml_tensor * planar) const {
    ggml_context * ctx = graph.ctx();
    const int64_t bins = config.n_fft / 2 + 1;
    const int64_t channels = planar->ne[1];
    const auto before = static_cast<int>(config.n_fft - config.hop_length);
    ggml_tensor * frames =
        cut_frames(ctx, ggml_pad_ext(ctx, planar, before, 0, 0, 0, 0, 0, 0, 0), config.n_fft, config.hop_length);
    ggml_tensor * basis = ggml_reshape_2d(ctx, forward_basis, config.n_fft, 2 * bins);
    ggml_tensor * power = ggml_sqr(ctx, product(graph, basis, frames));  // ne: [2 * bins, frames, channels]
    const auto half = [&](int64_t first) {
        return ggml_view_3d(ctx, power, bins, power->ne[1], channels, power->nb[1], power->nb[2],
                            static_cast<size_t>(first) * power->nb[0]);
    };
    ggml_tensor * magnitude = ggml_sqrt(ctx, ggml_add(ctx, half(0), half(bins)));
    ggml_tensor * mel = product(graph, mel_basis, magnitude);  // ne: [mel_bins, frames, channels]
    mel = ggml_log(ctx, clamp_finite(ctx, mel, kMelFloor, std::numeric_limits<float>::infinity()));
    mel = graph.probe("mel_stft", ggml_cont(ctx, ggml_permute(ctx, mel, 0, 2, 1, 3)));
    return ggml_reshape_2d(ctx, mel, config.mel_bins * channels, mel->ne[2]);
}

ggml_tensor * BandwidthExtension::build(Graph & graph, ggml_tensor * wave, ggml_tensor * resampler) const {
    ggml_context * ctx = graph.ctx();
    ggml_tensor * planar = ggml_cont(ctx, ggml_transpose(ctx, wave));  // ne: [n, channels]
    ggml_tensor * mel = log_mel(graph, planar);
    ggml_tensor * residual = nullptr;
    {
        const auto scope = graph.scope("bwe_generator");
        residual = generator.build(graph, mel);
    }
    ggml_tensor * skip = ggml_cont(ctx, ggml_transpose(ctx, resample(graph, planar, resampler)));
    skip = graph.probe("resampler", skip);
    return clamp_finite(ctx, ggml_add(ctx, residual, skip), -1.0f, 1.0f);  // ne: [channels, n * ratio]
}

int64_t BandwidthExtension::reach_samples(int64_t samples) const {
    const int64_t frames = generator.reach_frames(samples) + 1;
    return frames * config.hop_length + config.n_fft;
}

Vocoder Vocoder::load(const Scope & scope, const VocoderConfig & config) {
    check_vocoder_config(config);
    if (!config.bwe) {
        return {.config = config, .generator = Generator::load(scope, config.generator), .bwe = {}};
    }
    return {.config = config,
            .generator = Generator::load(scope.at("vocoder"), config.generator),
            .bwe = BandwidthExtension::load(scope, *config.bwe)};
}

ggml_tensor * Vocoder::build(Graph & graph, ggml_tensor * mel, ggml_tensor * resampler) const {
    if (!bwe) {
        return generator.build(graph, mel);
    }
    ggml_tensor * wave = nullptr;
    {
        const auto scope = graph.scope("vocoder");
        wave = generator.build(graph, mel);
    }
    return bwe->build(graph, wave, resampler);  // ne: [channels, T * rate]
}

int64_t Vocoder::reach_frames() const {
    const int64_t samples = bwe ? bwe->reach_samples(0) : 0;
    return generator.reach_frames(samples);
}

}  // namespace ltx
