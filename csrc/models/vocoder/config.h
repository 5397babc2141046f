// Structure of the vocoder. Source: metadata `config.vocoder` of the released files.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace ltx {

enum class VocoderActivation { LeakyRelu, SnakeBeta };
enum class FinalActivation { Tanh, Clamp, None };

// One waveform generator.
struct GeneratorConfig {
    int64_t in_channels;
    int64_t out_channels;
    int64_t upsample_initial_channel;  // halved by every level
    std::vector<int64_t> upsample_rates;
    std::vector<int64_t> upsample_kernel_sizes;
    std::vector<int64_t> resblock_kernel_sizes;
    std::vector<std::vector<int64_t>> resblock_dilation_sizes;
    VocoderActivation activation;
    bool final_bias;
    FinalActivation final_activation;

    int64_t width(int64_t level) const { return upsample_initial_channel >> (level + 1); }
    // Samples per input frame.
    int64_t rate() const;
};

// The step from the generator's rate to a higher one, LTX-2.3 and later.
struct ExtensionConfig {
    GeneratorConfig generator;
    int64_t ratio;  // of the two sample rates
    int64_t hop_length;
    int64_t n_fft;
    int64_t mel_bins;
};

struct VocoderConfig {
    GeneratorConfig generator;
    std::optional<ExtensionConfig> bwe;

    // Samples per mel frame.
    int64_t rate() const { return generator.rate() * (bwe ? bwe->ratio : 1); }
};

// Throws ConfigError for values that no network can be made of.
void check_vocoder_config(const VocoderConfig & config);

}  // namespace ltx
