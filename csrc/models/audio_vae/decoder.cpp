#include "models/audio_vae/decoder.h"

namespace ltx {

namespace {

// Every bin and every frame twice, without the first frame: the latent of one frame stands for one mel frame, each
// further one for as many as the factor says.
ggml_tensor * upsample(Graph & graph, const CausalConv2d & c, ggml_tensor * x) {
    return conv(graph, x, c.weight, c.bias,
                {.kernel_width = 3, .pad_left = 1, .pad_right = 1, .pad_top = 1, .repeat = 2});  // ne: [C, 2F, 2T - 1]
}

}  // namespace

AudioDecoder AudioDecoder::load(const Scope & scope, const AudioVaeConfig & config) {
    check_audio_vae_config(config);
    const int64_t top = config.levels() - 1;
    int64_t width = config.width(top);
    AudioDecoder decoder{
        .config = config,
        .statistics = AudioStatistics::load(scope, config),
        .conv_in = CausalConv2d::load(scope.at("conv_in.conv"), config.latent_channels, width, 3),
        .mid = AudioMid::load(scope.at("mid"), width),
        .up = std::vector<AudioLevel>(static_cast<size_t>(config.levels())),
        .conv_out = CausalConv2d::load(scope.at("conv_out.conv"), config.width(0), config.out_channels, 3),
    };
    for (int64_t i = top; i >= 0; --i) {
        const Scope level = scope.at("up", static_cast<int>(i));
        AudioLevel & part = decoder.up[static_cast<size_t>(i)];
        for (int b = 0; b <= config.num_res_blocks; ++b) {
            part.blocks.push_back(AudioResBlock::load(level.at("block", b), width, config.width(i)));
            width = config.width(i);
        }
        if (i > 0) {
            part.resample = CausalConv2d::load(level.at("upsample.conv.conv"), width, width, 3);
        }
    }
    return decoder;
}

ggml_tensor * AudioDecoder::build(Graph & graph, ggml_tensor * latent) const {
    const auto scope = graph.scope("decoder");
    ggml_tensor * x = graph.probe("conv_in", conv_in.build(graph, latent, false));
    x = mid.build(graph, x);
    for (size_t i = up.size(); i-- > 0;) {
        const auto level = graph.scope("up." + std::to_string(i));
        for (size_t b = 0; b < up[i].blocks.size(); ++b) {
            const auto block = graph.scope("block." + std::to_string(b));
            x = up[i].blocks[b].build(graph, x);
        }
        if (up[i].resample) {
            x = graph.probe("upsample", upsample(graph, *up[i].resample, x));
        }
    }
    return graph.probe("conv_out", conv_out.build(graph, x, true));  // ne: [out_channels, mel_bins, T]
}

int64_t AudioDecoder::reach_frames() const {
    constexpr int64_t kPerConv = 2;
    int64_t reach = kPerConv;  // conv_out
    for (const AudioLevel & level : up) {
        reach += 2 * kPerConv * static_cast<int64_t>(level.blocks.size());
        if (&level != &up.back()) {
            reach = (reach + kPerConv + 1) / 2 + 1;  // the convolution behind the doubling, then the doubling
        }
    }
    return reach + 4 * kPerConv + kPerConv;  // mid, conv_in
}

}  // namespace ltx
