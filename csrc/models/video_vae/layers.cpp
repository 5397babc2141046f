#include "models/video_vae/layers.h"

namespace ltx {

namespace {

// A kernel covers this many frames besides the result's own place.
constexpr int64_t kReach = 2;

PadOptions pad_options(const Conv & conv, const VaePadding & padding, Activation activation, bool ended) {
    PadOptions options = conv.pad_options();
    options.back = ended ? padding.trail : 0;
    options.spatial = padding.spatial;
    options.norm_silu = activation == Activation::PixelNormSilu;
    options.eps = kPixelNormEps;
    return options;
}

}  // namespace

ggml_tensor * pad_stream(Graph & graph, FrameStream & stream, const std::string & layer, const Conv & conv,
                         FrameChunk in, const VaePadding & padding, Activation activation) {
    StreamPosition & at = stream.position(layer);
    if (at.closed || (!in.frames && !in.ended)) {
        return nullptr;
    }
    // The frames kept are those of the last buffer, normalised, padded and in the kernel's type.
    PadOptions options = pad_options(conv, padding, activation, in.ended);
    options.front = at.kept ? 0 : padding.lead;
    options.earlier_is_padded = true;
    ggml_tensor * padded = pad_frames(graph, stream.with_kept(graph, layer, in.frames), options);
    at.closed = in.ended;
    if (!in.ended) {
        stream.keep(graph, layer, padded, {});
    }
    return padded->ne[3] > kReach ? padded : nullptr;
}

FrameChunk stream_conv(Graph & graph, FrameStream & stream, const Conv & conv, FrameChunk in,
                       const VaePadding & padding, Activation activation) {
    ggml_tensor * padded = pad_stream(graph, stream, graph.path(""), conv, in, padding, activation);
    return {padded ? graph.probe("", conv.build(graph, padded)) : nullptr, in.ended};
}

VaeResBlock VaeResBlock::load(const Scope & scope, int64_t channels, const VaePadding & padding) {
    return {Conv::load(scope.at("conv1.conv"), channels, channels, 3, ConvInput::Bounded),
            Conv::load(scope.at("conv2.conv"), channels, channels, 3, ConvInput::Bounded), padding};
}

FrameChunk VaeResBlock::build(Graph & graph, FrameStream & stream, FrameChunk in, int64_t limit) const {
    const std::string layer = graph.path("");
    const std::string layer2 = layer + ".conv2";
    StreamPosition & at = stream.position(layer);
    const bool first_was_closed = at.closed;
    const FramePieces x = stream.with_kept(graph, layer, in.frames);
    const int64_t kept = frame_count(x.earlier);
    ggml_tensor * padded = nullptr;
    FrameChunk hidden{nullptr, in.ended};
    if (!first_was_closed && (in.frames || in.ended)) {
        PadOptions options = pad_options(conv1, padding, Activation::PixelNormSilu, in.ended);
        options.front = kept ? static_cast<int32_t>(kReach - kept) : padding.lead;
        padded = pad_frames(graph, x, options);  // ne: [C, W + 2, H + 2, results + 2]
        hidden.frames = padded->ne[3] > kReach ? conv1.build(graph, padded) : nullptr;
        at.closed = in.ended;
    }
    ggml_tensor * padded2 =
        pad_stream(graph, stream, layer2, conv2, hold_end(hidden, limit), padding, Activation::PixelNormSilu);
    ggml_tensor * out = nullptr;
    if (padded2) {
        // Causal convolutions gave the results for the frames kept. Centred ones owe them: all, or the last one when
        // conv1 has seen the end.
        const int64_t owed = padding.trail == 0 ? 0 : (first_was_closed ? 1 : kept);
        out = conv2.build(graph, padded2, slice_frames(graph, x, kept - owed, padded2->ne[3] - kReach));
        graph.probe("", out);
    }
    const bool ended = stream.position(layer2).closed;
    if (!ended) {
        stream.keep(graph, layer, in.frames, {padded, out});
    }
    return {out, ended};
}

}  // namespace ltx
