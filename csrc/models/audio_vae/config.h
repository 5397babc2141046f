// Structure of the audio VAE. Source: metadata `config.audio_vae` of the released files.
#pragma once

#include <cstdint>
#include <vector>

namespace ltx {

struct AudioVaeConfig {
    int64_t in_channels;
    int64_t out_channels;
    int64_t latent_channels;
    int64_t latent_bins;
    int64_t base_channels;
    std::vector<int64_t> channel_multipliers;  // finest level first
    int64_t num_res_blocks;                    // per encoder level; decoder levels have one more
    int64_t mel_bins;

    int64_t levels() const { return static_cast<int64_t>(channel_multipliers.size()); }
    int64_t width(int64_t level) const { return base_channels * channel_multipliers[static_cast<size_t>(level)]; }
    int64_t token_size() const { return latent_channels * latent_bins; }

    // Frames of the mel that L latent frames decode to: every level above the finest doubles them and drops the first.
    int64_t mel_frames(int64_t latent_frames) const {
        const int64_t factor = int64_t{1} << (levels() - 1);
        return factor * latent_frames - (factor - 1);
    }
    // And of the latent that a mel encodes to: every level halves, rounding up.
    int64_t latent_frames(int64_t mel_frames) const {
        const int64_t factor = int64_t{1} << (levels() - 1);
        return (mel_frames + factor - 1) / factor;
    }
};

// Throws ConfigError for values that no network can be made of.
void check_audio_vae_config(const AudioVaeConfig & config);

}  // namespace ltx
