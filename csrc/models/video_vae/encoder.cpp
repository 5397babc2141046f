#include "models/video_vae/encoder.h"

#include "base/error.h"

namespace ltx {

FrameChunk VaeDownsampler::build(Graph & graph, FrameStream & stream, FrameChunk in) const {
    StreamPosition & at = stream.position(graph.path(""));
    const int32_t doubled = factor.time > 1 && !at.started ? 1 : 0;
    VaePadding extended = padding;
    extended.lead += doubled;
    ggml_tensor * padded = pad_stream(graph, stream, graph.path(""), conv, in, extended, Activation::None);
    ggml_tensor * out =
        space_to_depth(graph, conv.build(graph, padded), factor, Packing::WidthFastest, in.frames, doubled);
    at.started = true;
    return {graph.probe("", out), in.ended};
}

VideoEncoder VideoEncoder::load(const Scope & scope, const VideoVaeConfig & config) {
    VideoEncoder encoder{
        .config = config,
        .padding = {.spatial = config.padding, .lead = 2, .trail = 0},
        .mean = scope.require("per_channel_statistics.mean-of-means", {config.latent_channels}, WeightKind::Vector),
        .std = scope.require("per_channel_statistics.std-of-means", {config.latent_channels}, WeightKind::Vector),
        .conv_in = {},
        .blocks = {},
        .conv_out = {},
    };
    int64_t channels = config.latent_channels;
    encoder.conv_in = Conv::load(scope.at("conv_in.conv"), kColours * config.patch_size * config.patch_size, channels,
                                 3, ConvInput::Bounded);
    int index = 0;
    for (const VaeBlock & block : config.blocks) {
        const Scope at = scope.at("down_blocks", index++);
        if (block.kind != VaeBlockKind::ResX) {
            const SpaceTimeFactor factor = sampler_factor(block.kind);
            const int64_t wider = channels * block.multiplier;
            if (wider % factor.product() != 0 || factor.product() % block.multiplier != 0) {
                throw ConfigError("video encoder: a sampler cannot make ", wider, " channels of ", factor.product(),
                                  " neighbours");
            }
            encoder.blocks.emplace_back(VaeDownsampler{
                Conv::load(at.at("conv.conv"), channels, wider / factor.product()), factor, encoder.padding});
            channels = wider;
            continue;
        }
        std::vector<VaeResBlock> layers;
        for (int layer = 0; layer < block.num_layers; ++layer) {
            layers.push_back(VaeResBlock::load(at.at("res_blocks", layer), channels, encoder.padding));
        }
        encoder.blocks.emplace_back(std::move(layers));
    }
    // The last channel is a variance that nothing here uses.
    encoder.conv_out =
        Conv::load(scope.at("conv_out.conv"), channels, config.latent_channels + 1, 3, ConvInput::Bounded);
    return encoder;
}

ggml_tensor * VideoEncoder::build(Graph & graph, FrameStream & stream, ggml_tensor * frames) const {
    ggml_context * ctx = graph.ctx();
    const auto scope = graph.scope("encoder");
    const auto patch = static_cast<int32_t>(config.patch_size);
    FrameChunk x{space_to_depth(graph, frames, {1, patch, patch}, Packing::HeightFastest), false};
    {
        const auto module = graph.scope("conv_in");
        x = stream_conv(graph, stream, conv_in, x, padding, Activation::None);
    }
    for (size_t i = 0; i < blocks.size(); ++i) {
        const auto block_scope = graph.scope("down_blocks." + std::to_string(i));
        if (const auto * downsampler = std::get_if<VaeDownsampler>(&blocks[i])) {
            x = downsampler->build(graph, stream, x);
            graph.end_segment({x.frames});
            continue;
        }
        const auto & layers = std::get<std::vector<VaeResBlock>>(blocks[i]);
        for (size_t layer = 0; layer < layers.size(); ++layer) {
            const auto layer_scope = graph.scope("res_blocks." + std::to_string(layer));
            x = layers[layer].build(graph, stream, x);
            graph.end_segment({x.frames});
        }
        graph.probe("", x.frames);
    }
    const auto module = graph.scope("conv_out");
    ggml_tensor * moments = stream_conv(graph, stream, conv_out, x, padding, Activation::PixelNormSilu).frames;
    ggml_tensor * latent = ggml_view_4d(ctx, moments, config.latent_channels, moments->ne[1], moments->ne[2],
                                        moments->ne[3], moments->nb[1], moments->nb[2], moments->nb[3], 0);
    return ggml_div(ctx, ggml_sub(ctx, latent, mean), std);  // ne: [latent_channels, w, h, latents]
}

}  // namespace ltx
