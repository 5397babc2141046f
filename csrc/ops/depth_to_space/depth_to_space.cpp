#include "ops/depth_to_space/depth_to_space.h"

namespace ltx {

namespace {

// Splits the fastest `factor` channel offsets off and makes them the slow half of dimension `axis`.
// [factor * K, ...] -> [K, ... with dimension `axis` times factor ...]
ggml_tensor * unfold(ggml_context * ctx, ggml_tensor * x, int64_t factor, int axis) {
    if (factor == 1) {
        return x;
    }
    const int64_t channels = x->ne[0] / factor;
    const auto ne = std::array{x->ne[1], x->ne[2], x->ne[3]};
    if (axis == 1) {
        x = ggml_reshape_4d(ctx, x, factor, channels, ne[0], ne[1] * ne[2]);
        x = ggml_cont(ctx, ggml_permute(ctx, x, 1, 0, 2, 3));  // ne: [K, factor, W, H * T]
        return ggml_reshape_4d(ctx, x, channels, factor * ne[0], ne[1], ne[2]);
    }
    const int64_t inner = axis == 2 ? ne[0] : ne[0] * ne[1];
    x = ggml_reshape_4d(ctx, x, factor, channels, inner, axis == 2 ? ne[1] * ne[2] : ne[2]);
    x = ggml_cont(ctx, ggml_permute(ctx, x, 2, 0, 1, 3));  // ne: [K, inner, factor, outer]
    return axis == 2 ? ggml_reshape_4d(ctx, x, channels, ne[0], factor * ne[1], ne[2])
                     : ggml_reshape_4d(ctx, x, channels, ne[0], ne[1], factor * ne[2]);
}

ggml_tensor * shuffle(Graph & graph, ggml_tensor * x, const DepthToSpaceConstants & params) {
    ggml_context * ctx = graph.ctx();
    const SpaceTimeFactor f = params.factor;
    x = ggml_is_contiguous(x) ? x : ggml_cont(ctx, x);
    if (params.packing == Packing::WidthFastest) {
        x = unfold(ctx, unfold(ctx, x, f.width, 1), f.height, 2);
    } else {
        x = unfold(ctx, unfold(ctx, x, f.height, 2), f.width, 1);
    }
    x = unfold(ctx, x, f.time, 3);
    return slice_frames(graph, x, params.drop_first, x->ne[3] - params.drop_first);
}

}  // namespace

ggml_tensor * depth_to_space(Graph & graph, ggml_tensor * x, SpaceTimeFactor factor, Packing packing, bool drop_first,
                             const FramePieces & shortcut) {
    const DepthToSpaceConstants params{factor, packing, drop_first, piece_set(shortcut)};
    if (graph.fuses("depth_to_space")) {
        return custom_node_with(graph, GGML_TYPE_F32,
                                {x->ne[0] / factor.product(), x->ne[1] * factor.width, x->ne[2] * factor.height,
                                 x->ne[3] * factor.time - params.drop_first},
                                {x, shortcut.earlier, shortcut.frames}, &depth_to_space_cpu, params);
    }
    ggml_tensor * result = shuffle(graph, x, params);
    if (ggml_tensor * added = join_frames(graph, shortcut)) {
        result = ggml_add(graph.ctx(), ggml_cont(graph.ctx(), result),
                          ggml_repeat(graph.ctx(), ggml_cont(graph.ctx(), shuffle(graph, added, params)), result));
    }
    return result;  // ne: [C, W * width, H * height, T * time - drop_first]
}

}  // namespace ltx
