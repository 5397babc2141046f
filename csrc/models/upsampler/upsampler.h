// Enlarges a video latent between the two stages of a generation. Works on latents that are not normalised.
// Source: ltx-core, upsampler/model.py (LatentUpsampler), spatial_rational_resampler.py, blur_downsample.py.
#pragma once

#include <vector>

#include "nn/conv.h"
#include "ops/depth_to_space/depth_to_space.h"

namespace ltx {

struct UpsamplerConfig {
    int64_t in_channels;
    int64_t mid_channels;
    int64_t num_blocks_per_stage;
    bool spatial;   // height and width
    bool temporal;  // frames: F becomes 2 F - 1
    bool rational;  // a spatial one whose tensors are named "conv", with a blur where scale_denominator is above 1
    int64_t scale_numerator;
    int64_t scale_denominator;
};

struct GroupNorm {
    ggml_tensor * weight = nullptr;  // ne: [C]
    ggml_tensor * bias = nullptr;

    static GroupNorm load(const Scope & scope, int64_t channels);

    // silu(norm(x) + residual). [C, W, H, T] -> the same shape
    ggml_tensor * build(Graph & graph, ggml_tensor * x, ggml_tensor * residual = nullptr) const;
};

// silu(x + norm2(conv2(silu(norm1(conv1(x))))))
struct UpsamplerBlock {
    Conv conv1, conv2;
    GroupNorm norm1, norm2;

    static UpsamplerBlock load(const Scope & scope, int64_t channels);
    ggml_tensor * build(Graph & graph, ggml_tensor * x) const;
};

struct Upsampler {
    UpsamplerConfig config;
    Conv initial_conv, upsample_conv, final_conv;
    GroupNorm initial_norm;
    std::vector<UpsamplerBlock> res_blocks, post_upsample_res_blocks;

    static Upsampler load(const Scope & scope, const UpsamplerConfig & config);

    // latent: F32 [in_channels, w, h, F] -> F32 [in_channels, w', h', F']
    ggml_tensor * build(Graph & graph, ggml_tensor * latent) const;
};

}  // namespace ltx
