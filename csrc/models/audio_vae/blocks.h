// What the two halves of the audio VAE are made of. Tensors are channels-last, F32 [C, F, T]: mel bins, then time.
// Source: ltx-core, model/audio_vae (ResnetBlock, Upsample, Downsample with causality axis "height", which is time).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/audio_vae/config.h"
#include "ops/conv/conv.h"
#include "weights/weight_store.h"

namespace ltx {

// A convolution that sees only the present and the past: all padding along time goes before.
struct CausalConv2d {
    ggml_tensor * weight = nullptr;  // ne: [out, in, taps], taps along time first
    ggml_tensor * bias = nullptr;    // ne: [out]
    int32_t kernel = 3;

    static CausalConv2d load(const Scope & scope, int64_t in, int64_t out, int64_t kernel);

    // x: [in, F, T] -> [out, F, T]; `norm` normalises and activates x first.
    ggml_tensor * build(Graph & graph, ggml_tensor * x, bool norm, ggml_tensor * residual = nullptr) const;
};

struct AudioResBlock {
    CausalConv2d conv1;
    CausalConv2d conv2;
    std::optional<CausalConv2d> nin_shortcut;

    static AudioResBlock load(const Scope & scope, int64_t in, int64_t out);

    // x: [in, F, T] -> [out, F, T]
    ggml_tensor * build(Graph & graph, ggml_tensor * x) const;
};

struct AudioMid {
    AudioResBlock block_1;
    AudioResBlock block_2;

    static AudioMid load(const Scope & scope, int64_t width);

    // x: [width, F, T] -> [width, F, T]
    ggml_tensor * build(Graph & graph, ggml_tensor * x) const;
};

struct AudioLevel {
    std::vector<AudioResBlock> blocks;
    std::optional<CausalConv2d> resample;  // between this level and the next one in computing order
};

// Claims the statistics of latent tokens, each [token_size], index channel * bins + bin.
struct AudioStatistics {
    ggml_tensor * mean = nullptr;
    ggml_tensor * deviation = nullptr;

    static AudioStatistics load(const Scope & scope, const AudioVaeConfig & config);
};

}  // namespace ltx
