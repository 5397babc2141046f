#include "models/vocoder/generator.h"

#include <algorithm>

#include "graph/not_finite.h"

namespace ltx {

namespace {

constexpr int64_t kOuterTaps = 7;
// Inside, and behind the last level, where the reference leaves the slope to its library.
constexpr InputActivation kLeaky{ConvActivation::LeakyRelu, 0.1f};
constexpr InputActivation kLastLeaky{ConvActivation::LeakyRelu, 0.01f};

GeneratorBlock load_block(const Scope & scope, const GeneratorConfig & config, int64_t channels, size_t kind) {
    GeneratorBlock block;
    const auto & dilations = config.resblock_dilation_sizes[kind];
    for (size_t i = 0; i < dilations.size(); ++i) {
        const auto index = static_cast<int>(i);
        Conv1d::Options options{.in = channels, .out = channels, .taps = config.resblock_kernel_sizes[kind]};
        block.convs2.push_back(Conv1d::load(scope.at("convs2", index), options));
        options.dilation = dilations[i];
        block.convs1.push_back(Conv1d::load(scope.at("convs1", index), options));
        if (config.activation == VocoderActivation::SnakeBeta) {
            block.acts1.push_back(SnakeActivation::load(scope.at("acts1", index), channels));
            block.acts2.push_back(SnakeActivation::load(scope.at("acts2", index), channels));
        }
    }
    return block;
}

}  // namespace

SnakeActivation SnakeActivation::load(const Scope & scope, int64_t channels) {
    return {
        .alpha = scope.require("act.alpha", {channels}, WeightKind::Vector),
        .beta = scope.require("act.beta", {channels}, WeightKind::Vector),
        .up = scope.require("upsample.filter", {1, 1, kSnakeFilterTaps}, WeightKind::Vector),
        .down = scope.require("downsample.lowpass.filter", {1, 1, kSnakeFilterTaps}, WeightKind::Vector),
    };
}

ggml_tensor * SnakeActivation::build(Graph & graph, ggml_tensor * x) const {
    return antialiased_snake(graph, x, alpha, beta, up, down);
}

ggml_tensor * GeneratorBlock::build(Graph & graph, ggml_tensor * x) const {
    for (size_t i = 0; i < convs1.size(); ++i) {
        if (acts1.empty()) {
            ggml_tensor * y = convs1[i].build(graph, x, kLeaky);
            x = convs2[i].build(graph, y, kLeaky, x);
        } else {
            ggml_tensor * y = convs1[i].build(graph, acts1[i].build(graph, x));
            x = convs2[i].build(graph, acts2[i].build(graph, y), {}, x);
        }
    }
    return graph.probe("", x);  // ne: [channels, T]
}

Generator Generator::load(const Scope & scope, const GeneratorConfig & config) {
    const auto levels = static_cast<int64_t>(config.upsample_rates.size());
    const size_t kinds = config.resblock_kernel_sizes.size();
    const int64_t last = config.width(levels - 1);
    const bool snake = config.activation == VocoderActivation::SnakeBeta;
    Generator generator{
        .config = config,
        .conv_pre =
            Conv1d::load(scope.at("conv_pre"),
                         {.in = config.in_channels, .out = config.upsample_initial_channel, .taps = kOuterTaps}),
        .ups = {},
        .resblocks = {},
        .act_post = {},
        .conv_post =
            Conv1d::load(scope.at("conv_post"),
                         {.in = last, .out = config.out_channels, .taps = kOuterTaps, .bias = config.final_bias}),
    };
    if (snake) {
        generator.act_post = SnakeActivation::load(scope.at("act_post"), last);
    }
    for (int64_t i = 0; i < levels; ++i) {
        const auto index = static_cast<size_t>(i);
        generator.ups.push_back(ConvTranspose1d::load(scope.at("ups", static_cast<int>(i)), config.width(i - 1),
                                                      config.width(i), config.upsample_kernel_sizes[index],
                                                      config.upsample_rates[index]));
        for (size_t kind = 0; kind < kinds; ++kind) {
            const auto number = static_cast<int>(index * kinds + kind);
            generator.resblocks.push_back(load_block(scope.at("resblocks", number), config, config.width(i), kind));
        }
    }
    return generator;
}

ggml_tensor * Generator::build(Graph & graph, ggml_tensor * mel) const {
    ggml_context * ctx = graph.ctx();
    const size_t kinds = config.resblock_kernel_sizes.size();
    const bool snake = config.activation == VocoderActivation::SnakeBeta;
    ggml_tensor * x = graph.probe("conv_pre", conv_pre.build(graph, mel));
    for (size_t i = 0; i < ups.size(); ++i) {
        x = graph.probe("ups." + std::to_string(i), ups[i].build(graph, x, snake ? InputActivation{} : kLeaky));
        ggml_tensor * sum = nullptr;
        for (size_t kind = 0; kind < kinds; ++kind) {
            const size_t number = i * kinds + kind;
            const auto scope = graph.scope("resblocks." + std::to_string(number));
            ggml_tensor * y = resblocks[number].build(graph, x);
            sum = sum ? ggml_add(ctx, sum, y) : y;
        }
        x = ggml_scale(ctx, sum, 1.0f / static_cast<float>(kinds));
    }
    if (act_post) {
        x = graph.probe("act_post", act_post->build(graph, x));
    }
    x = graph.probe("conv_post", conv_post.build(graph, x, snake ? InputActivation{} : kLastLeaky));
    switch (config.final_activation) {
        case FinalActivation::Tanh:
            x = where_finite(ctx, ggml_tanh(ctx, x), x);
            break;
        case FinalActivation::Clamp:
            x = clamp_finite(ctx, x, -1.0f, 1.0f);
            break;
        case FinalActivation::None:
            break;
    }
    return graph.probe("", x);  // ne: [out_channels, T * rate]
}

int64_t Generator::reach_frames(int64_t samples) const {
    // Both filters of an activation together reach 6 to either side.
    const int64_t activation = act_post ? kSnakeFilterTaps / 2 : 0;
    int64_t block = 0;
    for (size_t kind = 0; kind < config.resblock_kernel_sizes.size(); ++kind) {
        const int64_t half = config.resblock_kernel_sizes[kind] / 2;
        int64_t reach = 0;
        for (const int64_t dilation : config.resblock_dilation_sizes[kind]) {
            reach += half * dilation + half + 2 * activation;
        }
        block = std::max(block, reach);
    }
    int64_t reach = samples + kOuterTaps / 2 + activation;
    for (size_t i = ups.size(); i-- > 0;) {
        reach = (reach + block + config.upsample_kernel_sizes[i]) / config.upsample_rates[i] + 1;
    }
    return reach + kOuterTaps / 2;
}

}  // namespace ltx
