// A convolution with kernel 3x3x3 or 3x3 (frames as they are), stride 1.
#pragma once

#include "ops/conv3d/conv3d.h"
#include "ops/pad/pad.h"
#include "weights/weight_store.h"

namespace ltx {

// What is known of a convolution's input: nothing, or that it stays within the range of F16, because pad_frames
// normalises it (PadOptions::norm_silu) or because it is pixels.
enum class ConvInput { Any, Bounded };

struct Conv {
    ConvKernel kernel;

    // Claims "weight" (out, in, kernel_frames, 3, 3) and "bias" (out); kernel_frames 0 stands for (out, in, 3, 3).
    static Conv load(const Scope & scope, int64_t in, int64_t out, int64_t kernel_frames = 3,
                     ConvInput input = ConvInput::Any);

    // What the padded input must be; the caller sets the rest. Known once the weights are laid out.
    PadOptions pad_options() const { return {.type = kernel.weight->type, .channels = kernel.buffer_channels()}; }

    // padded: [pad_options().channels, W + 2, H + 2, T + kernel_frames - 1] -> [out, W, H, T]
    ggml_tensor * build(Graph & graph, ggml_tensor * padded, const FramePieces & residual = {}) const {
        return conv3d(graph, kernel, padded, residual);
    }
};

}  // namespace ltx
