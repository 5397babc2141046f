#include "ops/conv/conv.h"

#include <string>

#include "base/error.h"
#include "graph/not_finite.h"
#include "graph/product.h"

namespace ltx {

namespace {

void expect_arguments(const char * op, const ggml_tensor * x, const ggml_tensor * weight, const ggml_tensor * bias) {
    expect_rows(op, "x", x, GGML_TYPE_F32, {weight->ne[1], kAny, kAny, 1});
    const bool half = weight->type == GGML_TYPE_F16 || weight->type == GGML_TYPE_BF16;
    expect_rows(op, "weight", weight, half ? weight->type : GGML_TYPE_F32, {kAny, kAny, kAny, 1});
    if (bias) {
        expect_rows(op, "bias", bias, GGML_TYPE_F32, {weight->ne[0], 1, 1, 1});
    }
    if (!ggml_is_contiguous(x) || !ggml_is_contiguous(weight)) {
        throw ShapeError(op, ": x and weight must be contiguous");
    }
}

ggml_tensor * activate(ggml_context * ctx, ggml_tensor * x, ConvActivation activation, float value) {
    switch (activation) {
        case ConvActivation::None:
            return x;
        case ConvActivation::LeakyRelu:
            return where_finite(ctx, ggml_leaky_relu(ctx, x, value, false), x);
        case ConvActivation::PixelNormSilu:
            return ggml_silu(ctx, ggml_rms_norm(ctx, x, value));
    }
    throw Error("unknown activation of a convolution");
}

// The matrix of one tap as ggml multiplies it: F32 [in, out].
ggml_tensor * matrix_of(ggml_context * ctx, ggml_tensor * weight, int64_t tap) {
    ggml_tensor * matrix = ggml_view_2d(ctx, weight, weight->ne[0], weight->ne[1], weight->nb[1],
                                        static_cast<size_t>(tap) * weight->nb[2]);
    matrix = matrix->type == GGML_TYPE_F32 ? matrix : ggml_cast(ctx, matrix, GGML_TYPE_F32);
    return ggml_cont(ctx, ggml_transpose(ctx, matrix));
}

ggml_tensor * add_to(ggml_context * ctx, ggml_tensor * sum, ggml_tensor * term) {
    return sum ? (term ? ggml_add(ctx, sum, term) : sum) : term;
}

ggml_tensor * conv_composed(Graph & graph, ggml_tensor * x, ggml_tensor * weight, ggml_tensor * bias,
                            const ConvOptions & o, std::array<int64_t, 4> ne, ggml_tensor * residual) {
    ggml_context * ctx = graph.ctx();
    x = activate(ctx, x, o.activation, o.value);
    if (o.repeat > 1) {
        x = ggml_interpolate(ctx, x, x->ne[0], x->ne[1] * o.repeat, x->ne[2] * o.repeat, 1, GGML_SCALE_MODE_NEAREST);
    }
    x = ggml_pad_ext(ctx, x, 0, 0, o.pad_left, o.pad_right, o.pad_top, o.pad_bottom, 0, 0);
    ggml_tensor * sum = nullptr;  // ne: [out, W', H']
    for (int64_t tap = 0; tap < weight->ne[2]; ++tap) {
        const size_t offset = static_cast<size_t>(tap / o.kernel_width) * x->nb[2] +
                              static_cast<size_t>(tap % o.kernel_width * o.dilation) * x->nb[1];
        const auto stride = static_cast<size_t>(o.stride);
        ggml_tensor * window =
            ggml_view_3d(ctx, x, x->ne[0], ne[1], ne[2], x->nb[1] * stride, x->nb[2] * stride, offset);
        sum = add_to(ctx, sum, product(graph, matrix_of(ctx, weight, tap), ggml_cont(ctx, window)));
    }
    return add_to(ctx, add_to(ctx, sum, bias), residual);
}

// The positions of one phase read the taps that are equal to it modulo the stride, from neighbouring inputs.
ggml_tensor * conv_transpose_composed(Graph & graph, ggml_tensor * x, ggml_tensor * weight, ggml_tensor * bias,
                                      int32_t stride) {
    ggml_context * ctx = graph.ctx();
    const int64_t taps = weight->ne[2];
    const int64_t cut = (taps - stride) / 2;
    const int64_t width = x->ne[1];
    const auto margin = static_cast<int>(taps / stride + 1);
    x = ggml_pad_ext(ctx, x, 0, 0, margin, margin, 0, 0, 0, 0);
    ggml_tensor * phases = nullptr;  // ne: [out, phases, W]
    for (int64_t phase = 0; phase < stride; ++phase) {
        ggml_tensor * sum = nullptr;
        for (int64_t tap = (phase + cut) % stride; tap < taps; tap += stride) {
            const int64_t first = margin + (phase + cut - tap) / stride;
            ggml_tensor * window =
                ggml_view_2d(ctx, x, x->ne[0], width, x->nb[1], static_cast<size_t>(first) * x->nb[1]);
            sum = add_to(ctx, sum, product(graph, matrix_of(ctx, weight, tap), window));
        }
        sum = ggml_reshape_3d(ctx, add_to(ctx, sum, bias), weight->ne[0], 1, width);
        phases = phases ? ggml_concat(ctx, phases, sum, 1) : sum;
    }
    return ggml_reshape_2d(ctx, phases, weight->ne[0], stride * width);
}

}  // namespace

ggml_tensor * conv(Graph & graph, ggml_tensor * x, ggml_tensor * weight, ggml_tensor * bias, const ConvOptions & o,
                   ggml_tensor * residual) {
    expect_arguments("conv", x, weight, bias);
    const int64_t kernel_height = weight->ne[2] / o.kernel_width;
    const int64_t span_x = o.dilation * (o.kernel_width - 1) + 1;
    const int64_t padded_width = x->ne[1] * o.repeat + o.pad_left + o.pad_right;
    const int64_t padded_height = x->ne[2] * o.repeat + o.pad_top + o.pad_bottom;
    if (weight->ne[2] % o.kernel_width != 0 || padded_width < span_x || padded_height < kernel_height) {
        throw ShapeError("conv: a kernel of ", weight->ne[2], " taps, ", o.kernel_width, " wide, does not fit into ",
                         padded_width, " x ", padded_height, " padded positions");
    }
    const std::array<int64_t, 4> ne{weight->ne[0], (padded_width - span_x) / o.stride + 1,
                                    (padded_height - kernel_height) / o.stride + 1, 1};
    if (residual) {
        expect_rows("conv", "residual", residual, GGML_TYPE_F32, ne);
        if (!ggml_is_contiguous(residual)) {
            throw ShapeError("conv: residual must be contiguous");
        }
    }
    if (!graph.fuses("conv")) {
        return conv_composed(graph, x, weight, bias, o, ne, residual);
    }
    const ConvConstants constants{o.kernel_width, o.stride,     o.dilation, o.pad_left,      o.pad_top,
                                  o.repeat,       o.activation, o.value,    bias != nullptr, residual != nullptr};
    return custom_node_with(graph, GGML_TYPE_F32, ne, {x, weight, bias, residual}, &conv_cpu, constants);
}

ggml_tensor * conv_transpose(Graph & graph, ggml_tensor * x, ggml_tensor * weight, ggml_tensor * bias, int32_t stride,
                             ConvActivation activation, float value) {
    expect_arguments("conv_transpose", x, weight, bias);
    if (stride < 1 || weight->ne[2] < stride || (weight->ne[2] - stride) % 2 != 0 || x->ne[2] != 1) {
        throw ShapeError("conv_transpose: ", weight->ne[2], " taps do not fit a stride of ", stride, " over one row");
    }
    if (!graph.fuses("conv_transpose")) {
        ggml_tensor * activated = activate(graph.ctx(), x, activation, value);
        return conv_transpose_composed(graph, activated, weight, bias, stride);
    }
    const ConvTransposeConstants constants{stride, activation, value, bias != nullptr};
    return custom_node_with(graph, GGML_TYPE_F32, {weight->ne[0], x->ne[1] * stride, 1, 1}, {x, weight, bias},
                            &conv_transpose_cpu, constants);
}

}  // namespace ltx
