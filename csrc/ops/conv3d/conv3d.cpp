#include "ops/conv3d/conv3d.h"

#include "base/simd.h"
#include "graph/custom_node.h"

namespace ltx {

namespace {

struct Params {
    int64_t padded_width, padded_height;
};

LTX_TARGET_CLONES
void add_row(const float * sum, const float * bias, const float * residual, float * out, int64_t count) {
    if (residual) {
        for (int64_t i = 0; i < count; ++i) {
            out[i] = residual[i] + (sum[i] + bias[i]);
        }
    } else {
        for (int64_t i = 0; i < count; ++i) {
            out[i] = sum[i] + bias[i];
        }
    }
}

// Takes the rows outside the padding, adds bias and residual.
void kernel(ggml_tensor * dst, int ith, int nth, void *) {
    const auto params = custom_params<Params>(dst);
    const ggml_tensor * sums = dst->src[0];
    const auto * bias = static_cast<const float *>(dst->src[1]->data);
    const FramePieces residual{dst->src[2], dst->src[3]};
    const int64_t split = frame_count(residual.earlier);
    const int64_t channels = dst->ne[0];
    const int64_t width = dst->ne[1];
    const int64_t lines = dst->ne[2] * dst->ne[3];
    for (int64_t line = lines * ith / nth; line < lines * (ith + 1) / nth; ++line) {
        const int64_t row = line % dst->ne[2];
        const int64_t frame = line / dst->ne[2];
        const float * sum = static_cast<const float *>(sums->data) +
                            (frame * params.padded_height + row) * params.padded_width * channels;
        float * out = static_cast<float *>(dst->data) + line * width * channels;
        const ggml_tensor * piece = frame < split ? residual.earlier : residual.frames;
        const char * added = piece ? static_cast<const char *>(piece->data) + row * piece->nb[2] +
                                         (frame < split ? frame : frame - split) * piece->nb[3]
                                   : nullptr;
        for (int64_t x = 0; x < width; ++x) {
            add_row(sum + x * channels, bias,
                    piece ? reinterpret_cast<const float *>(added + x * piece->nb[1]) : nullptr, out + x * channels,
                    channels);
        }
    }
}

}  // namespace

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
        return custom_node(ctx, GGML_TYPE_F32, {out, width, height, frames},
                           {sums, bias, residual.earlier, residual.frames}, kernel, Params{row_pitch, padded->ne[2]});
    }
    ggml_tensor * inner = ggml_view_4d(ctx, sums, out, width, height, frames, sums->nb[1], row_pitch * sums->nb[1],
                                       frame_pitch * sums->nb[1], 0);
    ggml_tensor * result = ggml_add(ctx, ggml_cont(ctx, inner), bias);
    ggml_tensor * added = join_frames(graph, residual);
    return added ? ggml_add(ctx, result, added) : result;  // ne: [out, W, H, T]
}

}  // namespace ltx
