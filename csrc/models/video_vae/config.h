// Structure of the video VAE, as the checkpoint's metadata states it.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/depth_to_space/depth_to_space.h"
#include "ops/pad/pad.h"

namespace ltx {

enum class VaeBlockKind { ResX, CompressSpace, CompressTime, CompressAll };

struct VaeBlock {
    VaeBlockKind kind;
    int64_t num_layers;  // of ResX
    int64_t multiplier;  // ratio of the widths around a sampler
    bool residual;       // a decoder sampler adds its shuffled input (LTX-2)
};

// One half: blocks run from pixels to latent, so a decoder walks them backwards.
struct VideoVaeConfig {
    int64_t latent_channels;
    int64_t patch_size;
    int64_t base_channels;  // of the decoder, next to the pixels; the encoder's stem is latent_channels wide
    std::vector<VaeBlock> blocks;
    SpatialPad padding;
};

constexpr int64_t kColours = 3;

constexpr SpaceTimeFactor sampler_factor(VaeBlockKind kind) {
    switch (kind) {
        case VaeBlockKind::CompressSpace:
            return {1, 2, 2};
        case VaeBlockKind::CompressTime:
            return {2, 1, 1};
        case VaeBlockKind::CompressAll:
            return {2, 2, 2};
        case VaeBlockKind::ResX:
            break;
    }
    return {};
}

// Pixels per latent along each axis.
inline SpaceTimeFactor compression(const VideoVaeConfig & config) {
    SpaceTimeFactor total{1, static_cast<int32_t>(config.patch_size), static_cast<int32_t>(config.patch_size)};
    for (const VaeBlock & block : config.blocks) {
        const SpaceTimeFactor f = sampler_factor(block.kind);
        total = {total.time * f.time, total.height * f.height, total.width * f.width};
    }
    return total;
}

}  // namespace ltx
