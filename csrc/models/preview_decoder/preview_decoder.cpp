#include "models/preview_decoder/preview_decoder.h"

#include <algorithm>

#include "base/error.h"
#include "graph/not_finite.h"
#include "ops/depth_to_space/depth_to_space.h"

namespace ltx {

namespace {

// Latents pass through 3 tanh(x / 3).
constexpr float kLatentBound = 3.0f;
constexpr int32_t kPatch = 4;
constexpr int64_t kColours = 3;
// The released wide variant has 16; a graph has no room for many more.
constexpr int64_t kMaxGroups = 16;

void check(const PreviewDecoderConfig & c) {
    const int64_t group = c.group_width;
    const bool fits =
        c.latent_channels > 0 && group >= 0 && std::ranges::all_of(c.widths, [&](int64_t w) { return w > 0; }) &&
        std::all_of(c.widths.begin(), c.widths.begin() + kPreviewLevels,
                    [&](int64_t width) { return group == 0 || (width % group == 0 && width / group <= kMaxGroups); });
    if (!fits) {
        throw ConfigError("preview decoder: expected positive widths in at most ", kMaxGroups,
                          " groups of equal width, found ", c.widths[0], ", ", c.widths[1], ", ", c.widths[2], " and ",
                          c.widths[3], " in groups of ", group);
    }
}

ggml_tensor * relu(Graph & graph, ggml_tensor * x) {
    return where_finite(graph.ctx(), ggml_relu(graph.ctx(), x), x);
}

// Channels [group * count, (group + 1) * count) of all pixels. x: [C, W, H] -> [count, W, H]
ggml_tensor * channels_of(Graph & graph, ggml_tensor * x, int64_t group, int64_t count) {
    ggml_context * ctx = graph.ctx();
    return ggml_cont(ctx,
                     ggml_view_3d(ctx, x, count, x->ne[1], x->ne[2], x->nb[1], x->nb[2], group * count * x->nb[0]));
}

}  // namespace

PreviewConv PreviewConv::load(const Scope & scope, const Options & o) {
    return {.weight = scope.require("weight", {o.out, o.in / o.groups, o.kernel, o.kernel}, WeightKind::Kernel),
            .bias = o.bias ? scope.require("bias", {o.out}, WeightKind::Vector) : nullptr,
            .kernel = o.kernel,
            .groups = o.groups};
}

ggml_tensor * PreviewConv::build_group(Graph & graph, ggml_tensor * x, int64_t group,
                                       const ConvOptions & options) const {
    const int64_t out = weight->ne[0] / groups;
    ggml_tensor * part = channels_of(graph, weight, group, out);
    ggml_tensor * added = bias ? ggml_view_1d(graph.ctx(), bias, out, group * out * bias->nb[0]) : nullptr;
    return conv(graph, channels_of(graph, x, group, weight->ne[1]), part, added, options);
}

ggml_tensor * PreviewConv::build(Graph & graph, ggml_tensor * x, const Around & around) const {
    const int32_t pad = kernel / 2;
    const ConvOptions options{.kernel_width = kernel,
                              .pad_left = pad,
                              .pad_right = pad,
                              .pad_top = pad,
                              .pad_bottom = pad,
                              .repeat = around.repeat,
                              .activation = around.relu ? ConvActivation::LeakyRelu : ConvActivation::None};
    if (groups == 1) {
        return conv(graph, x, weight, bias, options, around.residual);  // ne: [out, W, H]
    }
    ggml_tensor * all = build_group(graph, x, 0, options);
    for (int64_t group = 1; group < groups; ++group) {
        all = ggml_concat(graph.ctx(), all, build_group(graph, x, group, options), 0);
    }
    return around.residual ? ggml_add(graph.ctx(), all, around.residual) : all;
}

MemoryBlock MemoryBlock::load(const Scope & scope, int64_t width, int64_t group_width) {
    const auto layer = [&](int index, const PreviewConv::Options & options) {
        return PreviewConv::load(scope.at("conv", index), options);
    };
    if (group_width == 0) {
        return {{layer(0, {.in = 2 * width, .out = width}), layer(2, {.in = width, .out = width}),
                 layer(4, {.in = width, .out = width})}};
    }
    const PreviewConv::Options grouped{.in = width, .out = width, .groups = width / group_width};
    return {{layer(0, {.in = 2 * width, .out = width, .kernel = 1}), layer(2, grouped),
             layer(4, {.in = width, .out = width, .kernel = 1}), layer(6, grouped)}};
}

ggml_tensor * MemoryBlock::build(Graph & graph, ggml_tensor * x, ggml_tensor * before) const {
    // Nothing was before the first frame.
    before = before ? before : ggml_scale(graph.ctx(), x, 0.0f);
    ggml_tensor * hidden = ggml_concat(graph.ctx(), x, before, 0);  // ne: [2 width, W, H]
    for (size_t i = 0; i < convs.size(); ++i) {
        const bool is_last = i + 1 == convs.size();
        hidden = convs[i].build(graph, hidden, {.relu = i > 0, .residual = is_last ? x : nullptr});
    }
    return relu(graph, hidden);
}

PreviewDecoder PreviewDecoder::load(const Scope & scope, const PreviewDecoderConfig & config) {
    check(config);
    // Layers are numbered through, those without weights included.
    const auto layer = [&](int index) { return scope.at("decoder", index); };
    PreviewDecoder net{
        .config = config,
        .first = PreviewConv::load(layer(1), {.in = config.latent_channels, .out = config.widths[0]}),
        .levels = {},
        .last = PreviewConv::load(layer(22), {.in = config.widths.back(), .out = kColours * kPatch * kPatch}),
    };
    int index = 3;
    for (size_t i = 0; i < kPreviewLevels; ++i) {
        const int64_t width = config.widths[i];
        PreviewLevel & level = net.levels[i];
        for (MemoryBlock & block : level.blocks) {
            block = MemoryBlock::load(layer(index++), width, config.group_width);
        }
        ++index;  // rows and columns are repeated
        level.grow =
            PreviewConv::load(layer(index++).at("conv"), {.in = width, .out = 2 * width, .kernel = 1, .bias = false});
        level.next = PreviewConv::load(layer(index++), {.in = width, .out = config.widths[i + 1], .bias = false});
    }
    return net;
}

std::vector<ggml_tensor *> PreviewDecoder::build(Graph & graph, ggml_tensor * latent, PreviewMemory & memory) const {
    ggml_context * ctx = graph.ctx();
    ggml_tensor * bounded = ggml_scale(ctx, ggml_tanh(ctx, ggml_scale(ctx, latent, 1 / kLatentBound)), kLatentBound);
    ggml_tensor * x = relu(graph, first.build(graph, where_finite(ctx, bounded, latent), {}));
    std::vector<ggml_tensor *> pictures;
    descend(graph, 0, x, memory, pictures);
    return pictures;
}

void PreviewDecoder::descend(Graph & graph, size_t level, ggml_tensor * x, PreviewMemory & memory,
                             std::vector<ggml_tensor *> & pictures) const {
    ggml_context * ctx = graph.ctx();
    if (level == kPreviewLevels) {
        ggml_tensor * patches = last.build(graph, x, {.relu = true});
        ggml_tensor * picture = depth_to_space(graph, patches, {1, kPatch, kPatch}, Packing::WidthFastest);
        pictures.push_back(clamp_finite(ctx, picture, 0.0f, 1.0f));  // ne: [3, 32 w, 32 h]
        return;
    }
    const PreviewLevel & at = levels[level];
    for (size_t i = 0; i < kPreviewBlocks; ++i) {
        ggml_tensor *& before = memory[level * kPreviewBlocks + i];
        ggml_tensor * input = x;
        x = at.blocks[i].build(graph, input, before);
        before = input;
    }
    // The network repeats rows and columns first; a convolution of single pixels gives the same before that.
    ggml_tensor * both = at.grow.build(graph, x, {});  // ne: [2 width, W, H]
    for (const int64_t half : {0, 1}) {
        ggml_tensor * frame = channels_of(graph, both, half, config.widths[level]);
        descend(graph, level + 1, at.next.build(graph, frame, {.repeat = 2}), memory, pictures);
    }
}

}  // namespace ltx
