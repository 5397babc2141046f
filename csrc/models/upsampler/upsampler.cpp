#include "models/upsampler/upsampler.h"

#include "ops/group_norm/group_norm.h"

namespace ltx {

namespace {

constexpr int64_t kGroups = 32;
constexpr float kGroupNormEps = 1e-5f;

// Zeros on all sides, frames included: not as in the VAE.
ggml_tensor * conv3d_zeros(Graph & graph, const Conv & conv, ggml_tensor * x) {
    PadOptions options = conv.pad_options();
    options.front = 1;
    options.back = 1;
    options.temporal = TemporalPad::Zeros;
    return conv.build(graph, pad_frames(graph, {nullptr, x}, options));
}

// A binomial kernel of five taps along dimension `axis`, zeros outside, every second result.
ggml_tensor * blur_half(ggml_context * ctx, ggml_tensor * x, int axis) {
    constexpr std::array kTaps{1.0f / 16, 4.0f / 16, 6.0f / 16, 4.0f / 16, 1.0f / 16};
    const int64_t results = (x->ne[axis] - 1) / 2 + 1;
    x = axis == 1 ? ggml_pad_ext(ctx, x, 0, 0, 2, 2, 0, 0, 0, 0) : ggml_pad_ext(ctx, x, 0, 0, 0, 0, 2, 2, 0, 0);
    ggml_tensor * sum = nullptr;
    for (size_t tap = 0; tap < kTaps.size(); ++tap) {
        ggml_tensor * part =
            ggml_view_4d(ctx, x, x->ne[0], axis == 1 ? results : x->ne[1], axis == 2 ? results : x->ne[2], x->ne[3],
                         x->nb[1] * (axis == 1 ? 2 : 1), x->nb[2] * (axis == 2 ? 2 : 1), x->nb[3], tap * x->nb[axis]);
        part = ggml_scale(ctx, ggml_cont(ctx, part), kTaps[tap]);
        sum = sum ? ggml_add(ctx, sum, part) : part;
    }
    return sum;
}

}  // namespace

GroupNorm GroupNorm::load(const Scope & scope, int64_t channels) {
    return {scope.require("weight", {channels}, WeightKind::Vector),
            scope.require("bias", {channels}, WeightKind::Vector)};
}

ggml_tensor * GroupNorm::build(Graph & graph, ggml_tensor * x, ggml_tensor * residual) const {
    return group_norm_silu(graph, x, weight, bias, kGroups, kGroupNormEps, residual);
}

UpsamplerBlock UpsamplerBlock::load(const Scope & scope, int64_t channels) {
    return {.conv1 = Conv::load(scope.at("conv1"), channels, channels),
            .conv2 = Conv::load(scope.at("conv2"), channels, channels),
            .norm1 = GroupNorm::load(scope.at("norm1"), channels),
            .norm2 = GroupNorm::load(scope.at("norm2"), channels)};
}

ggml_tensor * UpsamplerBlock::build(Graph & graph, ggml_tensor * x) const {
    ggml_tensor * hidden = norm1.build(graph, conv3d_zeros(graph, conv1, x));
    return norm2.build(graph, conv3d_zeros(graph, conv2, hidden), x);
}

Upsampler Upsampler::load(const Scope & scope, const UpsamplerConfig & config) {
    const int64_t mid = config.mid_channels;
    const int64_t copies = config.temporal ? 2 : config.scale_numerator * config.scale_numerator;
    Upsampler net{
        .config = config,
        .initial_conv = Conv::load(scope.at("initial_conv"), config.in_channels, mid),
        .upsample_conv = Conv::load(scope.at(config.rational ? "upsampler.conv" : "upsampler.0"), mid, copies * mid,
                                    config.temporal ? 3 : 0),
        .final_conv = Conv::load(scope.at("final_conv"), mid, config.in_channels),
        .initial_norm = GroupNorm::load(scope.at("initial_norm"), mid),
        .res_blocks = {},
        .post_upsample_res_blocks = {},
    };
    for (int i = 0; i < config.num_blocks_per_stage; ++i) {
        net.res_blocks.push_back(UpsamplerBlock::load(scope.at("res_blocks", i), mid));
        net.post_upsample_res_blocks.push_back(UpsamplerBlock::load(scope.at("post_upsample_res_blocks", i), mid));
    }
    // Files may hold the blur's constant kernel, also where it is unused.
    if (scope.has("upsampler.blur_down.kernel")) {
        scope.require("upsampler.blur_down.kernel", {1, 1, 5, 5}, WeightKind::Vector);
    }
    return net;
}

ggml_tensor * Upsampler::build(Graph & graph, ggml_tensor * latent) const {
    ggml_tensor * x = initial_norm.build(graph, conv3d_zeros(graph, initial_conv, latent));  // ne: [mid, w, h, F]
    for (size_t i = 0; i < res_blocks.size(); ++i) {
        x = graph.probe("res_blocks." + std::to_string(i), res_blocks[i].build(graph, x));
    }
    if (config.temporal) {
        x = depth_to_space(graph, conv3d_zeros(graph, upsample_conv, x), {2, 1, 1}, Packing::WidthFastest,
                           /*drop_first=*/true);
    } else {
        const auto factor = static_cast<int32_t>(config.scale_numerator);
        x = upsample_conv.build(graph, pad_frames(graph, {nullptr, x}, upsample_conv.pad_options()));
        x = depth_to_space(graph, x, {1, factor, factor}, Packing::WidthFastest);
        if (config.scale_denominator == 2) {
            x = blur_half(graph.ctx(), blur_half(graph.ctx(), x, 1), 2);
        }
    }
    graph.probe("upsampler", x);
    for (size_t i = 0; i < post_upsample_res_blocks.size(); ++i) {
        x = graph.probe("post_upsample_res_blocks." + std::to_string(i), post_upsample_res_blocks[i].build(graph, x));
    }
    return conv3d_zeros(graph, final_conv, x);  // ne: [in_channels, w', h', F']
}

}  // namespace ltx
