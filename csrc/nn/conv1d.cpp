#include "nn/conv1d.h"

namespace ltx {

Conv1d Conv1d::load(const Scope & scope, const Options & o) {
    return {
        .weight = scope.require("weight", {o.out, o.in, o.taps}, WeightKind::Kernel),
        .bias = o.bias ? scope.require("bias", {o.out}, WeightKind::Vector) : nullptr,
        .taps = static_cast<int32_t>(o.taps),
        .dilation = static_cast<int32_t>(o.dilation),
    };
}

ggml_tensor * Conv1d::build(Graph & graph, ggml_tensor * x, const InputActivation & activation,
                            ggml_tensor * residual) const {
    const int32_t pad = dilation * (taps - 1) / 2;
    const ConvOptions options{.kernel_width = taps,
                              .dilation = dilation,
                              .pad_left = pad,
                              .pad_right = pad,
                              .activation = activation.kind,
                              .value = activation.value};
    return conv(graph, x, weight, bias, options, residual);  // ne: [out, T]
}

ConvTranspose1d ConvTranspose1d::load(const Scope & scope, int64_t in, int64_t out, int64_t taps, int64_t rate) {
    return {
        .weight = scope.require("weight", {in, out, taps}, WeightKind::TransposedKernel),
        .bias = scope.require("bias", {out}, WeightKind::Vector),
        .rate = static_cast<int32_t>(rate),
    };
}

ggml_tensor * ConvTranspose1d::build(Graph & graph, ggml_tensor * x, const InputActivation & activation) const {
    return conv_transpose(graph, x, weight, bias, rate, activation.kind, activation.value);  // ne: [out, T * rate]
}

}  // namespace ltx
