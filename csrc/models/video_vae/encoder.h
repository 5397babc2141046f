// The encoder of the video VAE: frames to normalised latent, causal in time, as a stream.
// Source: ltx-core, video_vae/video_vae.py (VideoEncoder), sampling.py (SpaceToDepthDownsample).
#pragma once

#include <variant>

#include "models/video_vae/layers.h"

namespace ltx {

// A convolution whose neighbouring positions become channels, plus the same of its input, averaged over groups of
// channels. In time the very first frame comes twice, which makes the count even.
struct VaeDownsampler {
    Conv conv;
    SpaceTimeFactor factor;
    VaePadding padding;

    // [C, W, H, T] -> [C * multiplier, W / width, H / height, T / time]
    FrameChunk build(Graph & graph, FrameStream & stream, FrameChunk in) const;
};

struct VideoEncoder {
    using Block = std::variant<std::vector<VaeResBlock>, VaeDownsampler>;

    VideoVaeConfig config;
    VaePadding padding;
    ggml_tensor * mean = nullptr;  // ne: [latent_channels]
    ggml_tensor * std = nullptr;
    Conv conv_in;
    std::vector<Block> blocks;
    Conv conv_out;

    static VideoEncoder load(const Scope & scope, const VideoVaeConfig & config);

    // frames: F32 [3, W, H, T], values -1..1; T is 1 in the first chunk of a clip, later a multiple of the compression
    // in time (or a whole clip at once: 1 more than such a multiple). -> F32 [latent_channels, w, h, latents]
    ggml_tensor * build(Graph & graph, FrameStream & stream, ggml_tensor * frames) const;
};

}  // namespace ltx
