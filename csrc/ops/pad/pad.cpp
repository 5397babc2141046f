#include "ops/pad/pad.h"

#include "ops/pixel_norm/pixel_norm.h"

namespace ltx {

namespace {

// [C, W, H, T] -> [C, W + 2, H + 2, T]
ggml_tensor * pad_picture(ggml_context * ctx, ggml_tensor * x, SpatialPad mode) {
    if (mode == SpatialPad::Zeros) {
        return ggml_pad_ext(ctx, x, 0, 0, 1, 1, 1, 1, 0, 0);
    }
    const auto column = [&](int64_t i) {
        return ggml_view_4d(ctx, x, x->ne[0], 1, x->ne[2], x->ne[3], x->nb[1], x->nb[2], x->nb[3], i * x->nb[1]);
    };
    x = ggml_concat(ctx, ggml_concat(ctx, column(1), x, 1), column(x->ne[1] - 2), 1);
    const auto row = [&](int64_t i) {
        return ggml_view_4d(ctx, x, x->ne[0], x->ne[1], 1, x->ne[3], x->nb[1], x->nb[2], x->nb[3], i * x->nb[2]);
    };
    return ggml_concat(ctx, ggml_concat(ctx, row(1), x, 2), row(x->ne[2] - 2), 2);
}

// The definition of the result, from stock operations.
ggml_tensor * pad_frames_composed(Graph & graph, const FramePieces & pieces, const PadOptions & options) {
    ggml_context * ctx = graph.ctx();
    const FramePieces raw{options.earlier_is_padded ? nullptr : pieces.earlier, pieces.frames};
    ggml_tensor * x = join_frames(graph, raw);  // ne: [C, W, H, frames]
    if (x) {
        x = options.norm_silu ? pixel_norm_silu(graph, x, options.eps) : x;
        x = pad_picture(ctx, ggml_is_contiguous(x) ? x : ggml_cont(ctx, x), options.spatial);
        x = options.channels > x->ne[0] ? ggml_pad(ctx, x, static_cast<int>(options.channels - x->ne[0]), 0, 0, 0) : x;
        x = options.type == GGML_TYPE_F32 ? x : ggml_cast(ctx, x, options.type);
    }
    if (options.earlier_is_padded) {
        x = join_frames(graph, {pieces.earlier, x});
    }
    ggml_tensor * first = slice_frames(graph, x, 0, 1);
    ggml_tensor * last = slice_frames(graph, x, x->ne[3] - 1, 1);
    if (options.temporal == TemporalPad::Zeros) {
        first = last = ggml_cast(ctx, ggml_scale(ctx, ggml_cast(ctx, first, GGML_TYPE_F32), 0.0f), options.type);
    }
    for (int32_t i = 0; i < options.front; ++i) {
        x = ggml_concat(ctx, first, x, 3);
    }
    for (int32_t i = 0; i < options.back; ++i) {
        x = ggml_concat(ctx, x, last, 3);
    }
    return x;  // ne: [channels, W + 2, H + 2, front + frames + back]
}

}  // namespace

ggml_tensor * pad_frames(Graph & graph, const FramePieces & pieces, const PadOptions & options) {
    if (!graph.fuses("pad_frames")) {
        return pad_frames_composed(graph, pieces, options);
    }
    const ggml_tensor * any = pieces.frames ? pieces.frames : pieces.earlier;
    const int64_t border = any == pieces.frames || !options.earlier_is_padded ? 2 : 0;
    const PadConstants constants{options.front,     options.back,      options.spatial,
                                 options.temporal,  options.norm_silu, options.earlier_is_padded,
                                 piece_set(pieces), options.eps};
    return custom_node_with(graph, options.type,
                            {options.channels ? options.channels : any->ne[0], any->ne[1] + border, any->ne[2] + border,
                             options.front + frame_count(pieces) + options.back},
                            {pieces.earlier, pieces.frames}, &pad_frames_cpu, constants);
}

}  // namespace ltx
