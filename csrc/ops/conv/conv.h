// Convolutions in exact float32 over channels-last tensors, the activation in front and the residual behind included.
// (ggml's own make F16 columns whatever the kernel's type, and multiply F16 or BF16 kernels by rounded activations.)
#pragma once

#include "kernels/custom.h"

namespace ltx {

// What is applied to every input value first. Padding stays zero.
enum class ConvActivation : int32_t {
    None,
    LeakyRelu,      // value: slope
    PixelNormSilu,  // silu(x / sqrt(mean over channels of x^2 + eps)); value: eps
};

struct ConvOptions {
    int32_t kernel_width = 1;  // taps along W; the others lie along H
    int32_t stride = 1;        // along both axes
    int32_t dilation = 1;      // along W
    int32_t pad_left = 0;
    int32_t pad_right = 0;
    int32_t pad_top = 0;
    int32_t pad_bottom = 0;
    int32_t repeat = 1;  // every row and column this many times, before padding
    ConvActivation activation = ConvActivation::None;
    float value = 0.0f;
};

// x: F32 [in, W, H], contiguous. weight: F32, F16 or BF16 [out, in, taps] (WeightKind::Kernel), used as float32.
// bias: F32 [out] or null. residual: F32 of the result's shape, contiguous, added to it, or null.
// -> F32 [out, W', H'] with W' = (W * repeat + left + right - dilation * (kernel_width - 1) - 1) / stride + 1.
// Throws ShapeError for other layouts.
ggml_tensor * conv(Graph & graph, ggml_tensor * x, ggml_tensor * weight, ggml_tensor * bias,
                   const ConvOptions & options, ggml_tensor * residual = nullptr);

// x: F32 [in, W], contiguous. weight: [out, in, taps] (WeightKind::TransposedKernel), taps - stride even and positive.
// bias: F32 [out] or null. -> F32 [out, W * stride], (taps - stride) / 2 values cut off at both ends.
ggml_tensor * conv_transpose(Graph & graph, ggml_tensor * x, ggml_tensor * weight, ggml_tensor * bias, int32_t stride,
                             ConvActivation activation = ConvActivation::None, float value = 0.0f);

// Constants of the nodes. Sources: x, weight, then bias and residual as far as they are there.
struct ConvConstants {
    int32_t kernel_width;
    int32_t stride;
    int32_t dilation;
    int32_t pad_left;
    int32_t pad_top;
    int32_t repeat;
    ConvActivation activation;
    float value;
    int32_t has_bias;
    int32_t has_residual;
};
struct ConvTransposeConstants {
    int32_t stride;
    ConvActivation activation;
    float value;
    int32_t has_bias;
};

void conv_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);
void conv_transpose_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
