// The tiny autoencoder's decoder (taeltx): latents to pictures at a hundredth of the cost, for previews. Convolutions
// see single frames; time enters where blocks also see the frame before, and where a frame becomes two.
// Source: the released taeltx2, taeltx2_3 and taeltx2_3_wide files, and the structure that their author gives them.
#pragma once

#include <array>
#include <vector>

#include "ops/conv/conv.h"
#include "weights/weight_store.h"

namespace ltx {

inline constexpr size_t kPreviewLevels = 3;
inline constexpr size_t kPreviewBlocks = 3;  // of a level

// Pictures of one latent frame, and what they are larger by than it.
inline constexpr int64_t kPreviewPictures = 8;
inline constexpr int64_t kPreviewScale = 32;

struct PreviewDecoderConfig {
    int64_t latent_channels;
    std::array<int64_t, kPreviewLevels + 1> widths;  // of the levels, and behind them
    int64_t group_width;  // of the wide variant, channels that its 3x3 convolutions see together; 0 for the normal one
};

// A convolution over one frame that keeps its size, or enlarges it first.
struct PreviewConv {
    ggml_tensor * weight = nullptr;  // ne: [out, in / groups, taps]
    ggml_tensor * bias = nullptr;    // ne: [out], or null
    int32_t kernel = 3;              // 3 or 1, in both directions
    int64_t groups = 1;

    struct Options {
        int64_t in;
        int64_t out;
        int32_t kernel = 3;
        int64_t groups = 1;
        bool bias = true;
    };
    static PreviewConv load(const Scope & scope, const Options & options);

    struct Around {
        bool relu = false;                 // of the input
        int32_t repeat = 1;                // of its rows and columns
        ggml_tensor * residual = nullptr;  // added to the result
    };
    // x: F32 [in, W, H] -> F32 [out, repeat * W, repeat * H]
    ggml_tensor * build(Graph & graph, ggml_tensor * x, const Around & around) const;

private:
    ggml_tensor * build_group(Graph & graph, ggml_tensor * x, int64_t group, const ConvOptions & options) const;
};

// relu(convolutions of a frame and the one before it + the frame)
struct MemoryBlock {
    std::vector<PreviewConv> convs;

    static MemoryBlock load(const Scope & scope, int64_t width, int64_t group_width);
    // x: [width, W, H]; before: the block's input one frame earlier, null at the beginning -> [width, W, H]
    ggml_tensor * build(Graph & graph, ggml_tensor * x, ggml_tensor * before) const;
};

// Makes two frames of twice the size out of one.
struct PreviewLevel {
    std::array<MemoryBlock, kPreviewBlocks> blocks;
    PreviewConv grow;  // to the channels of both frames
    PreviewConv next;  // to the width of the next level
};

// The last input of each block; null before the first frame.
using PreviewMemory = std::array<ggml_tensor *, kPreviewLevels * kPreviewBlocks>;

struct PreviewDecoder {
    PreviewDecoderConfig config;
    PreviewConv first;
    std::array<PreviewLevel, kPreviewLevels> levels;
    PreviewConv last;

    static PreviewDecoder load(const Scope & scope, const PreviewDecoderConfig & config);

    // latent: F32 [latent_channels, w, h], one normalised frame; memory: changed to that behind the frame.
    // -> kPreviewPictures of F32 [3, 32 w, 32 h], 0..1. Of those that nobody asks for nothing is computed. The first
    // frame of a clip stands for one picture: only its last counts.
    std::vector<ggml_tensor *> build(Graph & graph, ggml_tensor * latent, PreviewMemory & memory) const;

private:
    // Adds the pictures of a frame that enters level number `level`.
    void descend(Graph & graph, size_t level, ggml_tensor * x, PreviewMemory & memory,
                 std::vector<ggml_tensor *> & pictures) const;
};

}  // namespace ltx
