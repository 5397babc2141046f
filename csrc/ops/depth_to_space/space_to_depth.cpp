#include "ops/depth_to_space/depth_to_space.h"

namespace ltx {

namespace {

// Makes `factor` neighbours along dimension `axis` the fastest channels.
// [K, ... with dimension `axis` = factor * n ...] -> [factor * K, ... n ...]
ggml_tensor * fold(ggml_context * ctx, ggml_tensor * x, int64_t factor, int axis) {
    if (factor == 1) {
        return x;
    }
    const auto ne = std::array{x->ne[0], x->ne[1], x->ne[2], x->ne[3]};
    if (axis == 1) {
        x = ggml_reshape_4d(ctx, x, ne[0], factor, ne[1] / factor, ne[2] * ne[3]);
        x = ggml_cont(ctx, ggml_permute(ctx, x, 1, 0, 2, 3));  // ne: [factor, K, W / factor, H * T]
        return ggml_reshape_4d(ctx, x, factor * ne[0], ne[1] / factor, ne[2], ne[3]);
    }
    const int64_t inner = axis == 2 ? ne[1] : ne[1] * ne[2];
    x = ggml_reshape_4d(ctx, x, ne[0], inner, factor, (axis == 2 ? ne[2] * ne[3] : ne[3]) / factor);
    x = ggml_cont(ctx, ggml_permute(ctx, x, 1, 2, 0, 3));  // ne: [factor, K, inner, outer]
    return axis == 2 ? ggml_reshape_4d(ctx, x, factor * ne[0], ne[1], ne[2] / factor, ne[3])
                     : ggml_reshape_4d(ctx, x, factor * ne[0], ne[1], ne[2], ne[3] / factor);
}

ggml_tensor * shuffle(Graph & graph, ggml_tensor * x, const SpaceToDepthConstants & params) {
    ggml_context * ctx = graph.ctx();
    const SpaceTimeFactor f = params.factor;
    x = fold(ctx, ggml_is_contiguous(x) ? x : ggml_cont(ctx, x), f.time, 3);
    if (params.packing == Packing::WidthFastest) {
        return fold(ctx, fold(ctx, x, f.height, 2), f.width, 1);
    }
    return fold(ctx, fold(ctx, x, f.width, 1), f.height, 2);
}

}  // namespace

ggml_tensor * space_to_depth(Graph & graph, ggml_tensor * x, SpaceTimeFactor factor, Packing packing,
                             ggml_tensor * shortcut, int32_t lead) {
    ggml_context * ctx = graph.ctx();
    const SpaceToDepthConstants params{factor, packing, lead};
    const std::array<int64_t, 4> ne{x->ne[0] * factor.product(), x->ne[1] / factor.width, x->ne[2] / factor.height,
                                    x->ne[3] / factor.time};
    if (graph.fuses("space_to_depth")) {
        return custom_node_with(graph, GGML_TYPE_F32, ne, {x, shortcut}, &space_to_depth_cpu, params);
    }
    ggml_tensor * result = shuffle(graph, x, params);
    if (shortcut) {
        for (int32_t i = 0; i < lead; ++i) {
            shortcut = ggml_concat(ctx, slice_frames(graph, shortcut, 0, 1), shortcut, 3);
        }
        ggml_tensor * shuffled = shuffle(graph, shortcut, params);
        const int64_t group = shuffled->ne[0] / ne[0];
        shuffled = ggml_sum_rows(ctx, ggml_reshape_4d(ctx, shuffled, group, ne[0], ne[1] * ne[2], ne[3]));
        shuffled = ggml_scale(ctx, shuffled, 1.0f / static_cast<float>(group));
        result = ggml_add(ctx, result, ggml_reshape_4d(ctx, shuffled, ne[0], ne[1], ne[2], ne[3]));
    }
    return result;  // ne: [C * p, W / width, H / height, T / time]
}

}  // namespace ltx
