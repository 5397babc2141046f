#include "models/video_vae/decoder.h"

#include <ranges>

#include "base/error.h"

namespace ltx {

namespace {

VaeUpsampler load_upsampler(const Scope & scope, const VaeBlock & block, int64_t channels, const VaePadding & padding) {
    const SpaceTimeFactor factor = sampler_factor(block.kind);
    const int64_t positions = factor.product();
    if (channels % block.multiplier != 0 ||
        (block.residual && (channels % positions || positions % block.multiplier))) {
        throw ConfigError("video decoder: a sampler cannot turn ", channels, " channels into one ", block.multiplier,
                          "th of them");
    }
    return {Conv::load(scope.at("conv.conv"), channels, channels / block.multiplier * positions), factor,
            block.residual, padding};
}

}  // namespace

FrameChunk VaeUpsampler::build(Graph & graph, FrameStream & stream, FrameChunk in) const {
    const std::string layer = graph.path("");
    StreamPosition & at = stream.position(layer);
    ggml_tensor * padded = nullptr;
    // The skip path waits for the convolution, which is one frame late.
    FramePieces waiting;
    ggml_tensor * unpadded = residual ? in.frames : nullptr;
    if (residual && !at.closed) {
        waiting = stream.with_kept(graph, layer + ".skip", in.frames);
    }
    const int64_t kept = frame_count(waiting.earlier);
    padded = pad_stream(graph, stream, layer, conv, in, padding, Activation::None);
    ggml_tensor * out = nullptr;
    if (padded) {
        const FramePieces shortcut =
            residual ? slice_frames(graph, waiting, kept ? kept - 1 : 0, padded->ne[3] - 2) : FramePieces{};
        const bool drop_first = factor.time > 1 && !at.started;
        out = depth_to_space(graph, conv.build(graph, padded), factor, Packing::WidthFastest, drop_first, shortcut);
        graph.probe("", out);
        at.started = true;
    }
    if (unpadded && !in.ended) {
        stream.keep(graph, layer + ".skip", unpadded, {out});
    }
    return {out, in.ended};
}

VideoDecoder VideoDecoder::load(const Scope & scope, const VideoVaeConfig & config) {
    VideoDecoder decoder{
        .config = config,
        .padding = {.spatial = config.padding, .lead = 1, .trail = 1},
        .mean = scope.require("per_channel_statistics.mean-of-means", {config.latent_channels}, WeightKind::Vector),
        .std = scope.require("per_channel_statistics.std-of-means", {config.latent_channels}, WeightKind::Vector),
        .conv_in = {},
        .blocks = {},
        .conv_out = {},
    };
    int64_t channels = config.base_channels;
    for (const VaeBlock & block : config.blocks) {
        channels *= block.multiplier;
    }
    decoder.conv_in = Conv::load(scope.at("conv_in.conv"), config.latent_channels, channels);
    int index = 0;
    for (const VaeBlock & block : config.blocks | std::views::reverse) {
        const Scope at = scope.at("up_blocks", index++);
        if (block.kind != VaeBlockKind::ResX) {
            decoder.blocks.emplace_back(load_upsampler(at, block, channels, decoder.padding));
            channels /= block.multiplier;
            continue;
        }
        std::vector<VaeResBlock> layers;
        for (int layer = 0; layer < block.num_layers; ++layer) {
            layers.push_back(VaeResBlock::load(at.at("res_blocks", layer), channels, decoder.padding));
        }
        decoder.blocks.emplace_back(std::move(layers));
    }
    decoder.conv_out = Conv::load(scope.at("conv_out.conv"), channels, kColours * config.patch_size * config.patch_size,
                                  3, ConvInput::Bounded);
    return decoder;
}

FrameChunk VideoDecoder::build(Graph & graph, FrameStream & stream, FrameChunk latent, int64_t limit) const {
    ggml_context * ctx = graph.ctx();
    const auto scope = graph.scope("decoder");
    int64_t frame_limit = limit;
    if (latent.frames) {
        latent.frames = ggml_add(ctx, ggml_mul(ctx, latent.frames, std), mean);  // ne: [latent_channels, w, h, F]
    }
    FrameChunk x = latent;
    {
        const auto module = graph.scope("conv_in");
        x = hold_end(stream_conv(graph, stream, conv_in, x, padding, Activation::None), frame_limit);
    }
    for (size_t i = 0; i < blocks.size(); ++i) {
        const auto block_scope = graph.scope("up_blocks." + std::to_string(i));
        if (const auto * upsampler = std::get_if<VaeUpsampler>(&blocks[i])) {
            frame_limit *= upsampler->factor.time;
            x = hold_end(upsampler->build(graph, stream, x), frame_limit);
            graph.end_segment({x.frames});
            continue;
        }
        const auto & layers = std::get<std::vector<VaeResBlock>>(blocks[i]);
        for (size_t layer = 0; layer < layers.size(); ++layer) {
            const auto layer_scope = graph.scope("res_blocks." + std::to_string(layer));
            x = hold_end(layers[layer].build(graph, stream, x, frame_limit), frame_limit);
            graph.end_segment({x.frames});
        }
        if (x.frames) {
            graph.probe("", x.frames);
        }
    }
    const auto module = graph.scope("conv_out");
    x = stream_conv(graph, stream, conv_out, x, padding, Activation::PixelNormSilu);
    if (x.frames) {
        const auto patch = static_cast<int32_t>(config.patch_size);
        x.frames = depth_to_space(graph, x.frames, {1, patch, patch}, Packing::HeightFastest);
    }
    return x;  // ne: [3, W, H, frames]
}

}  // namespace ltx
