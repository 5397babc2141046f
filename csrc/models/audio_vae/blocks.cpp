#include "models/audio_vae/blocks.h"

#include <algorithm>

#include "base/error.h"

namespace ltx {

namespace {

// The video VAE has 1e-8 here.
constexpr float kNormEps = 1e-6f;

}  // namespace

void check_audio_vae_config(const AudioVaeConfig & c) {
    const bool positive = c.in_channels > 0 && c.out_channels > 0 && c.latent_channels > 0 && c.latent_bins > 0 &&
                          c.base_channels > 0 && c.num_res_blocks > 0 && c.levels() > 0 &&
                          std::ranges::all_of(c.channel_multipliers, [](int64_t m) { return m > 0; });
    if (!positive || c.levels() > 16 || c.latent_bins << (c.levels() - 1) != c.mel_bins) {
        throw ConfigError(
            "audio VAE: expected positive sizes and mel bins that are the latent's times 2 per level, "
            "found ",
            c.mel_bins, " mel bins, ", c.latent_bins, " latent bins, ", c.levels(), " levels");
    }
}

CausalConv2d CausalConv2d::load(const Scope & scope, int64_t in, int64_t out, int64_t kernel) {
    return {.weight = scope.require("weight", {out, in, kernel, kernel}, WeightKind::Kernel),
            .bias = scope.require("bias", {out}, WeightKind::Vector),
            .kernel = static_cast<int32_t>(kernel)};
}

ggml_tensor * CausalConv2d::build(Graph & graph, ggml_tensor * x, bool norm, ggml_tensor * residual) const {
    const ConvOptions options{.kernel_width = kernel,
                              .pad_left = (kernel - 1) / 2,
                              .pad_right = (kernel - 1) / 2,
                              .pad_top = kernel - 1,
                              .activation = norm ? ConvActivation::PixelNormSilu : ConvActivation::None,
                              .value = norm ? kNormEps : 0.0f};
    return conv(graph, x, weight, bias, options, residual);  // ne: [out, F, T]
}

AudioResBlock AudioResBlock::load(const Scope & scope, int64_t in, int64_t out) {
    AudioResBlock block{
        .conv1 = CausalConv2d::load(scope.at("conv1.conv"), in, out, 3),
        .conv2 = CausalConv2d::load(scope.at("conv2.conv"), out, out, 3),
        .nin_shortcut = {},
    };
    if (in != out) {
        block.nin_shortcut = CausalConv2d::load(scope.at("nin_shortcut.conv"), in, out, 1);
    }
    return block;
}

ggml_tensor * AudioResBlock::build(Graph & graph, ggml_tensor * x) const {
    ggml_tensor * y = conv1.build(graph, x, true);
    ggml_tensor * shortcut = nin_shortcut ? nin_shortcut->build(graph, x, false) : x;
    return graph.probe("", conv2.build(graph, y, true, shortcut));  // ne: [out, F, T]
}

AudioMid AudioMid::load(const Scope & scope, int64_t width) {
    return {AudioResBlock::load(scope.at("block_1"), width, width),
            AudioResBlock::load(scope.at("block_2"), width, width)};
}

ggml_tensor * AudioMid::build(Graph & graph, ggml_tensor * x) const {
    {
        const auto scope = graph.scope("mid.block_1");
        x = block_1.build(graph, x);
    }
    const auto scope = graph.scope("mid.block_2");
    return block_2.build(graph, x);  // ne: [width, F, T]
}

AudioStatistics AudioStatistics::load(const Scope & scope, const AudioVaeConfig & config) {
    const Scope statistics = scope.at("per_channel_statistics");
    return {statistics.require("mean-of-means", {config.token_size()}, WeightKind::Vector),
            statistics.require("std-of-means", {config.token_size()}, WeightKind::Vector)};
}

}  // namespace ltx
