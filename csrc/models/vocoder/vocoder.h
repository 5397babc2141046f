// The vocoder: a generator, and for LTX-2.3 the extension of its wave to a higher sample rate.
// Source: ltx-core, model/audio_vae (Vocoder, VocoderWithBWE).
#pragma once

#include "models/vocoder/generator.h"

namespace ltx {

// Adds what a wave of low rate lacks: a second generator makes a residual from the wave's own mel spectrum, added to
// the wave resampled by a windowed sinc.
struct BandwidthExtension {
    ExtensionConfig config;
    Generator generator;
    ggml_tensor * forward_basis = nullptr;  // ne: [n_fft, 1, n_fft + 2], rows of the real, then of the imaginary part
    ggml_tensor * mel_basis = nullptr;      // ne: [n_fft / 2 + 1, mel_bins]

    static BandwidthExtension load(const Scope & scope, const ExtensionConfig & config);

    // wave: F32 [channels, n], n a multiple of the hop. resampler: F32 [taps, ratio], as resampler_taps makes it.
    // -> F32 [channels, n * ratio]
    ggml_tensor * build(Graph & graph, ggml_tensor * wave, ggml_tensor * resampler) const;

    // Samples of `wave` to either side on which its extension may depend, given how many output samples are looked at.
    int64_t reach_samples(int64_t samples) const;

private:
    ggml_tensor * log_mel(Graph & graph, ggml_tensor * planar) const;
};

// The inputs that an output sample of each phase reads start this many samples before it and end as many behind it.
inline constexpr int64_t kResamplerReach = 7;

// Weights of the inputs for every phase, (ratio, 2 * kResamplerReach + 1): a sinc under a Hann window 6 zero crossings
// wide, with a cutoff of 0.99. Files do not store it.
std::vector<float> resampler_taps(int64_t ratio);

struct Vocoder {
    VocoderConfig config;
    Generator generator;
    std::optional<BandwidthExtension> bwe;

    static Vocoder load(const Scope & scope, const VocoderConfig & config);

    // mel: F32 [channels * bins, T], channels slow. resampler: as for BandwidthExtension, null without it.
    // -> F32 [channels, T * config.rate()]
    ggml_tensor * build(Graph & graph, ggml_tensor * mel, ggml_tensor * resampler) const;

    // Mel frames to either side on which the samples of a frame may depend.
    int64_t reach_frames() const;
};

}  // namespace ltx
