// The encoder of the audio VAE: log-mel spectrum to latent.
// Source: ltx-core, model/audio_vae (AudioEncoder).
#pragma once

#include "models/audio_vae/blocks.h"

namespace ltx {

struct AudioEncoder {
    AudioVaeConfig config;
    AudioStatistics statistics;
    CausalConv2d conv_in;
    std::vector<AudioLevel> down;  // finest first
    AudioMid mid;
    CausalConv2d conv_out;

    static AudioEncoder load(const Scope & scope, const AudioVaeConfig & config);

    // mel: F32 [in_channels, mel_bins, T] -> means and log variances before the statistics,
    // F32 [2 * latent_channels, latent_bins, latent_frames(T)], the means first
    ggml_tensor * build(Graph & graph, ggml_tensor * mel) const;

    // Latent frames before one on whose mel frames it may depend; none behind it.
    int64_t reach_frames() const;
};

}  // namespace ltx
