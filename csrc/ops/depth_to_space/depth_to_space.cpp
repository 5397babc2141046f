#include "ops/depth_to_space/depth_to_space.h"

#include "graph/custom_node.h"
#include "ops/depth_to_space/cell.h"

namespace ltx {

namespace {

struct Params {
    SpaceTimeFactor factor;
    Packing packing;
    int32_t drop_first;
};

void kernel(ggml_tensor * dst, int ith, int nth, void *) {
    const auto params = custom_params<Params>(dst);
    const ggml_tensor * in = dst->src[0];
    const FramePieces shortcut{dst->src[1], dst->src[2]};
    const int64_t split = frame_count(shortcut.earlier);
    const SpaceTimeFactor f = params.factor;
    const int64_t p = f.product();
    const int64_t channels = dst->ne[0];
    const int64_t lines = in->ne[2] * in->ne[3];
    for (int64_t line = lines * ith / nth; line < lines * (ith + 1) / nth; ++line) {
        const int64_t y = line % in->ne[2];
        const int64_t t = line / in->ne[2];
        const ggml_tensor * piece = t < split ? shortcut.earlier : shortcut.frames;
        for (int64_t index = 0; index < p; ++index) {
            const CellOffset at = cell_offset(f, params.packing, index);
            const int64_t frame = t * f.time + at.time - params.drop_first;
            if (frame < 0) {
                continue;
            }
            for (int64_t x = 0; x < in->ne[1]; ++x) {
                const float * from = channels_at(in, x, y, t) + index;
                auto * to = const_cast<float *>(channels_at(dst, x * f.width + at.width, y * f.height + at.height, frame));
                for (int64_t c = 0; c < channels; ++c) {
                    to[c] = from[c * p];
                }
                if (piece) {
                    const float * added = channels_at(piece, x, y, t < split ? t : t - split) + index;
                    const int64_t period = piece->ne[0] / p;
                    for (int64_t c = 0; c < channels; ++c) {
                        to[c] += added[c % period * p];
                    }
                }
            }
        }
    }
}

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

ggml_tensor * shuffle(Graph & graph, ggml_tensor * x, const Params & params) {
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
    const Params params{factor, packing, drop_first};
    if (graph.form() == OpForm::Fused) {
        return custom_node(graph.ctx(), GGML_TYPE_F32,
                           {x->ne[0] / factor.product(), x->ne[1] * factor.width, x->ne[2] * factor.height,
                            x->ne[3] * factor.time - params.drop_first},
                           {x, shortcut.earlier, shortcut.frames}, kernel, params);
    }
    ggml_tensor * result = shuffle(graph, x, params);
    if (ggml_tensor * added = join_frames(graph, shortcut)) {
        result = ggml_add(graph.ctx(), ggml_cont(graph.ctx(), result),
                          ggml_repeat(graph.ctx(), ggml_cont(graph.ctx(), shuffle(graph, added, params)), result));
    }
    return result;  // ne: [C, W * width, H * height, T * time - drop_first]
}

}  // namespace ltx
