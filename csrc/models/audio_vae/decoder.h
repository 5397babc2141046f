// The decoder of the audio VAE: latent to log-mel spectrum.
// Source: ltx-core, model/audio_vae (AudioDecoder).
#pragma once

#include "models/audio_vae/blocks.h"

namespace ltx {

struct AudioDecoder {
    AudioVaeConfig config;
    AudioStatistics statistics;
    CausalConv2d conv_in;
    AudioMid mid;
    std::vector<AudioLevel> up;  // finest first; computed from the last to the first
    CausalConv2d conv_out;

    static AudioDecoder load(const Scope & scope, const AudioVaeConfig & config);

    // latent: F32 [latent_channels, latent_bins, L], statistics applied -> F32 [out_channels, mel_bins, mel_frames(L)]
    ggml_tensor * build(Graph & graph, ggml_tensor * latent) const;

    // Latent frames before one on which its mel frames may depend; none behind it.
    int64_t reach_frames() const;
};

}  // namespace ltx
