// The layers both halves of the video VAE are made of, working on a stream of frames.
// Source: ltx-core, video_vae: CausalConv3d, ResnetBlock3D. Exact streaming is ours.
#pragma once

#include <limits>

#include "models/video_vae/config.h"
#include "nn/conv.h"
#include "nn/frame_stream.h"

namespace ltx {

// How the convolutions of a half pad. Every layer extends its own input.
struct VaePadding {
    SpatialPad spatial;
    int32_t lead;   // copies of the first frame in front: 2 where the convolution is causal, 1 where it is centred
    int32_t trail;  // copies of the last frame behind
};

constexpr float kPixelNormEps = 1e-8f;

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

// The end of a stream is held back where passing it on would make a layer see more frames than `limit`: each
// convolution gives one more when it learns of the end, so these would pile up.
inline FrameChunk hold_end(FrameChunk chunk, int64_t limit) {
    return {chunk.frames, chunk.ended && frame_count(chunk.frames) < limit};
}

enum class Activation { None, PixelNormSilu };

// The buffer of one convolution for this run: kept frames, new ones, and what padding adds at the ends. Null when it
// gives no result yet. ne: [C, W + 2, H + 2, results + 2]
ggml_tensor * pad_stream(Graph & graph, FrameStream & stream, const std::string & layer, const Conv & conv,
                         FrameChunk in, const VaePadding & padding, Activation activation);

// conv(activation(x)); handed on under the current scope's path, which also names the layer.
FrameChunk stream_conv(Graph & graph, FrameStream & stream, const Conv & conv, FrameChunk in,
                       const VaePadding & padding, Activation activation);

// x + conv2(act(conv1(act(x)))). With centred convolutions the branch is two frames late, so x waits for it.
struct VaeResBlock {
    Conv conv1;
    Conv conv2;
    VaePadding padding;

    static VaeResBlock load(const Scope & scope, int64_t channels, const VaePadding & padding);

    // [C, W, H, T] -> the same shape, other frames. The end goes past conv1 only while that gives fewer frames than
    // `limit`; call again, without frames, until the result has ended.
    FrameChunk build(Graph & graph, FrameStream & stream, FrameChunk in, int64_t limit = kNoLimit) const;
};

}  // namespace ltx
