#include "models/audio_vae/encoder.h"

namespace ltx {

namespace {

// Zeros before the first frame as everywhere, but behind the last bin only.
ggml_tensor * downsample(Graph & graph, const CausalConv2d & c, ggml_tensor * x) {
    return conv(graph, x, c.weight, c.bias,
                {.kernel_width = 3, .stride = 2, .pad_right = 1, .pad_top = 2});  // ne: [C, F / 2, ceil(T / 2)]
}

}  // namespace

AudioEncoder AudioEncoder::load(const Scope & scope, const AudioVaeConfig & config) {
    check_audio_vae_config(config);
    const int64_t top = config.levels() - 1;
    AudioEncoder encoder{
        .config = config,
        .statistics = AudioStatistics::load(scope, config),
        .conv_in = CausalConv2d::load(scope.at("conv_in.conv"), config.in_channels, config.base_channels, 3),
        .down = {},
        .mid = AudioMid::load(scope.at("mid"), config.width(top)),
        .conv_out = CausalConv2d::load(scope.at("conv_out.conv"), config.width(top), 2 * config.latent_channels, 3),
    };
    int64_t width = config.base_channels;
    for (int64_t i = 0; i <= top; ++i) {
        const Scope level = scope.at("down", static_cast<int>(i));
        AudioLevel & part = encoder.down.emplace_back();
        for (int b = 0; b < config.num_res_blocks; ++b) {
            part.blocks.push_back(AudioResBlock::load(level.at("block", b), width, config.width(i)));
            width = config.width(i);
        }
        if (i < top) {
            part.resample = CausalConv2d::load(level.at("downsample.conv"), width, width, 3);
        }
    }
    return encoder;
}

ggml_tensor * AudioEncoder::build(Graph & graph, ggml_tensor * mel) const {
    const auto scope = graph.scope("encoder");
    ggml_tensor * x = graph.probe("conv_in", conv_in.build(graph, mel, false));
    for (size_t i = 0; i < down.size(); ++i) {
        const auto level = graph.scope("down." + std::to_string(i));
        for (size_t b = 0; b < down[i].blocks.size(); ++b) {
            const auto block = graph.scope("block." + std::to_string(b));
            x = down[i].blocks[b].build(graph, x);
        }
        if (down[i].resample) {
            x = graph.probe("downsample", downsample(graph, *down[i].resample, x));
        }
    }
    x = mid.build(graph, x);
    return graph.probe("conv_out", conv_out.build(graph, x, true));  // ne: [2 * latent_channels, latent_bins, L]
}

int64_t AudioEncoder::reach_frames() const {
    constexpr int64_t kPerConv = 2;
    int64_t reach = kPerConv + 4 * kPerConv;  // conv_out, mid
    for (size_t i = down.size(); i-- > 0;) {
        if (down[i].resample) {
            reach = 2 * reach + kPerConv;
        }
        reach += 2 * kPerConv * static_cast<int64_t>(down[i].blocks.size());
    }
    return config.latent_frames(reach + kPerConv);  // conv_in
}

}  // namespace ltx
