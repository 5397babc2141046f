// A mel spectrum to a wave, by transposed convolutions with residual blocks behind each.
// Source: HiFi-GAN (Kong et al., 2020) for LTX-2; BigVGAN's anti-aliased SnakeBeta for LTX-2.3; ltx-core,
// model/audio_vae (Vocoder). All arithmetic is float32: rounding piles up through some hundred convolutions in a row.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/vocoder/config.h"
#include "nn/conv1d.h"
#include "ops/snake/snake.h"

namespace ltx {

struct SnakeActivation {
    ggml_tensor * alpha = nullptr;  // ne: [channels]
    ggml_tensor * beta = nullptr;   // ne: [channels]
    ggml_tensor * up = nullptr;     // ne: [kSnakeFilterTaps]
    ggml_tensor * down = nullptr;   // ne: [kSnakeFilterTaps]

    static SnakeActivation load(const Scope & scope, int64_t channels);

    // x: F32 [channels, T] -> the same shape
    ggml_tensor * build(Graph & graph, ggml_tensor * x) const;
};

// Pairs of convolutions, the first of each dilated, each pair on a residual path.
struct GeneratorBlock {
    std::vector<Conv1d> convs1;
    std::vector<Conv1d> convs2;
    std::vector<SnakeActivation> acts1;  // empty with leaky ReLU
    std::vector<SnakeActivation> acts2;

    // x: F32 [channels, T] -> the same shape
    ggml_tensor * build(Graph & graph, ggml_tensor * x) const;
};

struct Generator {
    GeneratorConfig config;
    Conv1d conv_pre;
    std::vector<ConvTranspose1d> ups;
    std::vector<GeneratorBlock> resblocks;  // those of the first level, then those of the second ...
    std::optional<SnakeActivation> act_post;
    Conv1d conv_post;

    static Generator load(const Scope & scope, const GeneratorConfig & config);

    // mel: F32 [in_channels, T] -> F32 [out_channels, T * rate]
    ggml_tensor * build(Graph & graph, ggml_tensor * mel) const;

    // Frames to either side on which the samples of one frame may depend, given how many samples to either side are
    // looked at. Rounded up.
    int64_t reach_frames(int64_t samples) const;
};

}  // namespace ltx
