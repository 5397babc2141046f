#include "ops/conv3d/conv3d.h"

namespace ltx {

ggml_tensor * conv3d(Graph & graph, ggml_tensor * weight, ggml_tensor * bias, ggml_tensor * padded,
                     const FramePieces & residual) {
    ggml_context * ctx = graph.ctx();
    const int64_t in = weight->ne[0];
    const int64_t out = weight->ne[1];
    const int64_t taps = weight->ne[2];
    const int64_t row_pitch = padded->ne[1];
    const int64_t frame_pitch = padded->ne[1] * padded->ne[2];
    const int64_t width = padded->ne[1] - 2;
    const int64_t height = padded->ne[2] - 2;
    const int64_t frames = padded->ne[3] - taps / 9 + 1;
    // From the first result to the last one, the padding between them included.
    const int64_t rows = (frames - 1) * frame_pitch + (height - 1) * row_pitch + width;
    ggml_tensor * sums = nullptr;  // ne: [out, rows]
    for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t shift = tap / 9 * frame_pitch + tap / 3 % 3 * row_pitch + tap % 3;
        ggml_tensor * window = ggml_view_2d(ctx, padded, in, rows, padded->nb[1], shift * padded->nb[1]);
        ggml_tensor * matrix = ggml_view_2d(ctx, weight, in, out, weight->nb[1], tap * weight->nb[2]);
        ggml_tensor * product = ggml_mul_mat(ctx, matrix, window);
        sums = sums ? ggml_add(ctx, sums, product) : product;
    }
    if (graph.form() == OpForm::Fused) {
        return custom_node_with(graph, GGML_TYPE_F32, {out, width, height, frames},
                                {sums, bias, residual.earlier, residual.frames}, &conv3d_finish_cpu,
                                ConvFinishConstants{static_cast<int32_t>(row_pitch),
                                                    static_cast<int32_t>(padded->ne[2]), piece_set(residual)});
    }
    ggml_tensor * inner = ggml_view_4d(ctx, sums, out, width, height, frames, sums->nb[1], row_pitch * sums->nb[1],
                                       frame_pitch * sums->nb[1], 0);
    ggml_tensor * result = ggml_add(ctx, ggml_cont(ctx, inner), bias);
    ggml_tensor * added = join_frames(graph, residual);
    return added ? ggml_add(ctx, result, added) : result;  // ne: [out, W, H, T]
}

}  // namespace ltx
