#include "kernels/simd.h"
#include "ops/conv3d/conv3d.h"

namespace ltx {

namespace {

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

}  // namespace

void conv3d_finish_cpu(ggml_tensor * dst, int thread, int num_threads, void * /*unused*/) {
    const auto params = constants_of<ConvFinishConstants>(dst);
    const ggml_tensor * sums = dst->src[0];
    const auto * bias = static_cast<const float *>(dst->src[1]->data);
    const FramePieces residual = pieces_of(dst, 2, params.residual);
    const int64_t split = frame_count(residual.earlier);
    const int64_t channels = dst->ne[0];
    const int64_t width = dst->ne[1];
    const auto [begin, end] = rows_of_thread(dst->ne[2] * dst->ne[3], thread, num_threads);
    for (int64_t line = begin; line < end; ++line) {
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

}  // namespace ltx
