#include "ops/group_norm/group_norm.h"

#include "base/error.h"

namespace ltx {

namespace {

// The definition of the result, from stock operations: ggml normalises channel planes, so positions go innermost.
ggml_tensor * group_norm_silu_composed(ggml_context * ctx, ggml_tensor * x, ggml_tensor * weight, ggml_tensor * bias,
                                       int64_t groups, float eps, ggml_tensor * residual) {
    const int64_t channels = x->ne[0];
    const int64_t positions = ggml_nrows(x);
    ggml_tensor * planes = ggml_cont(ctx, ggml_transpose(ctx, ggml_reshape_2d(ctx, x, channels, positions)));
    planes = ggml_reshape_4d(ctx, planes, positions, 1, channels, 1);
    planes = ggml_group_norm(ctx, planes, static_cast<int>(groups), eps);
    planes = ggml_cont(ctx, ggml_transpose(ctx, ggml_reshape_2d(ctx, planes, positions, channels)));
    ggml_tensor * y = ggml_add(ctx, ggml_mul(ctx, planes, weight), bias);
    y = ggml_reshape_4d(ctx, y, channels, x->ne[1], x->ne[2], x->ne[3]);
    return ggml_silu(ctx, residual ? ggml_add(ctx, y, residual) : y);  // ne: [C, W, H, T]
}

}  // namespace

ggml_tensor * group_norm_silu(Graph & graph, ggml_tensor * x, ggml_tensor * weight, ggml_tensor * bias, int64_t groups,
                              float eps, ggml_tensor * residual) {
    const std::array<int64_t, 4> ne{x->ne[0], x->ne[1], x->ne[2], x->ne[3]};
    expect_rows("group_norm_silu", "x", x, GGML_TYPE_F32, ne);
    expect_rows("group_norm_silu", "weight", weight, GGML_TYPE_F32, {ne[0], 1, 1, 1});
    expect_rows("group_norm_silu", "bias", bias, GGML_TYPE_F32, {ne[0], 1, 1, 1});
    if (residual) {
        expect_rows("group_norm_silu", "residual", residual, GGML_TYPE_F32, ne);
    }
    if (!ggml_is_contiguous(x) || (residual && !ggml_is_contiguous(residual)) || groups < 1 || ne[0] % groups != 0) {
        throw ShapeError("group_norm_silu: x and residual must be without gaps, and ", groups, " groups must divide ",
                         ne[0], " channels");
    }
    if (!graph.fuses("group_statistics") || !graph.fuses("group_norm_silu")) {
        return group_norm_silu_composed(graph.ctx(), x, weight, bias, groups, eps, residual);
    }
    ggml_tensor * statistics =
        custom_node_with(graph, GGML_TYPE_F32, {2, groups, 1, 1}, {x}, &group_statistics_cpu, GroupNormConstants{eps});
    return custom_node(graph, GGML_TYPE_F32, ne, {x, statistics, weight, bias, residual}, &group_norm_silu_cpu);
}

}  // namespace ltx
