#include "models/vocoder/config.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "base/error.h"

namespace ltx {

namespace {

bool positive(const std::vector<int64_t> & values) {
    return !values.empty() && std::ranges::all_of(values, [](int64_t value) { return value > 0; });
}

void check(const std::string & name, const GeneratorConfig & c) {
    const size_t levels = c.upsample_rates.size();
    if (!positive(c.upsample_rates) || c.upsample_kernel_sizes.size() != levels || levels > 16 ||
        c.upsample_initial_channel < 1 || c.upsample_initial_channel % (int64_t{1} << levels) != 0) {
        throw ConfigError(name, ": ", c.upsample_initial_channel,
                          " channels do not fit the upsampling levels, of which there are ", levels);
    }
    for (size_t i = 0; i < levels; ++i) {
        const int64_t cut = c.upsample_kernel_sizes[i] - c.upsample_rates[i];
        if (cut < 0 || cut % 2 != 0) {
            throw ConfigError(name, ": an upsampling kernel of ", c.upsample_kernel_sizes[i], " does not fit the rate ",
                              c.upsample_rates[i]);
        }
    }
    const bool blocks_fit = positive(c.resblock_kernel_sizes) &&
                            c.resblock_dilation_sizes.size() == c.resblock_kernel_sizes.size() &&
                            std::ranges::all_of(c.resblock_dilation_sizes, positive) &&
                            std::ranges::all_of(c.resblock_kernel_sizes, [](int64_t k) { return k % 2 == 1; });
    if (!blocks_fit || c.in_channels < 1 || c.out_channels < 1) {
        throw ConfigError(name,
                          ": expected residual blocks with odd kernels and dilations for each, and positive "
                          "channel counts");
    }
}

}  // namespace

int64_t GeneratorConfig::rate() const {
    return std::accumulate(upsample_rates.begin(), upsample_rates.end(), int64_t{1}, std::multiplies<>());
}

void check_vocoder_config(const VocoderConfig & config) {
    check("vocoder", config.generator);
    if (!config.bwe) {
        return;
    }
    const ExtensionConfig & e = *config.bwe;
    check("bandwidth extension", e.generator);
    if (e.ratio < 1 || e.hop_length < 1 || e.n_fft < e.hop_length || e.n_fft % 2 != 0 || e.mel_bins < 1 ||
        config.generator.rate() % e.hop_length != 0 || e.generator.rate() != e.ratio * e.hop_length ||
        e.generator.in_channels != config.generator.out_channels * e.mel_bins ||
        e.generator.out_channels != config.generator.out_channels) {
        throw ConfigError("bandwidth extension: its hop of ", e.hop_length, " and its generator's ", e.generator.rate(),
                          " samples per frame do not fit ", config.generator.rate(), " samples per mel frame times ",
                          e.ratio, ", or its channels do not");
    }
}

}  // namespace ltx
