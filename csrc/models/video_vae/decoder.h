// The convolutional decoder of the video VAE: normalised latent to frames, as a stream.
// Source: ltx-core, video_vae/video_vae.py (VideoDecoder), sampling.py (DepthToSpaceUpsample).
#pragma once

#include <variant>

#include "models/video_vae/layers.h"

namespace ltx {

// A convolution whose channels become neighbouring positions. In time the very first frame is dropped.
struct VaeUpsampler {
    Conv conv;
    SpaceTimeFactor factor;
    bool residual;
    VaePadding padding;

    // [C, W, H, T] -> [C / multiplier, W * width, H * height, about T * time]
    FrameChunk build(Graph & graph, FrameStream & stream, FrameChunk in) const;
};

struct VideoDecoder {
    using Block = std::variant<std::vector<VaeResBlock>, VaeUpsampler>;

    VideoVaeConfig config;
    VaePadding padding;
    ggml_tensor * mean = nullptr;  // ne: [latent_channels], of the latent the network was trained on
    ggml_tensor * std = nullptr;
    Conv conv_in;
    std::vector<Block> blocks;  // from latent to pixels
    Conv conv_out;

    static VideoDecoder load(const Scope & scope, const VideoVaeConfig & config);

    // latent: F32 [latent_channels, w, h, F] or null; `ended` when nothing follows. Close to the end a run hands the
    // end on only so far that no layer gives more frames than belong to `limit` latents; call again without a latent
    // until the result has ended. -> F32 [3, W, H, frames] or null
    FrameChunk build(Graph & graph, FrameStream & stream, FrameChunk latent, int64_t limit) const;
};

}  // namespace ltx
