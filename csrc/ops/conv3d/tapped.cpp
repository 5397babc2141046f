// The plain definition, for the kernels of other devices to be compared with.
#include "ops/conv3d/conv3d.h"

namespace ltx {

namespace {

float value_of(const ggml_tensor * tensor, int64_t index) {
    return ggml_bf16_to_fp32(static_cast<const ggml_bf16_t *>(tensor->data)[index]);
}

const float * channels_at(const ggml_tensor * piece, int64_t x, int64_t y, int64_t t) {
    return reinterpret_cast<const float *>(static_cast<const std::byte *>(piece->data) + x * piece->nb[1] +
                                           y * piece->nb[2] + t * piece->nb[3]);
}

}  // namespace

void conv3d_tapped_cpu(ggml_tensor * dst, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * weight = dst->src[0];
    const auto * bias = static_cast<const float *>(dst->src[1]->data);
    const ggml_tensor * padded = dst->src[2];
    const FramePieces residual = pieces_of(dst, 3, constants_of<TappedConvConstants>(dst).residual);
    const int64_t split = frame_count(residual.earlier);
    const int64_t in = weight->ne[0];
    const int64_t out = weight->ne[1];
    const auto [begin, end] = rows_of_thread(ggml_nrows(dst), thread, num_threads);
    for (int64_t position = begin; position < end; ++position) {
        const int64_t x = position % dst->ne[1];
        const int64_t y = position / dst->ne[1] % dst->ne[2];
        const int64_t t = position / (dst->ne[1] * dst->ne[2]);
        const ggml_tensor * piece = t < split ? residual.earlier : residual.frames;
        const float * added = piece ? channels_at(piece, x, y, t < split ? t : t - split) : nullptr;
        for (int64_t o = 0; o < out; ++o) {
            double sum = 0.0;
            for (int64_t tap = 0; tap < weight->ne[2]; ++tap) {
                const int64_t row = ((t + tap / 9) * padded->ne[2] + y + tap / 3 % 3) * padded->ne[1] + x + tap % 3;
                for (int64_t i = 0; i < in; ++i) {
                    sum += static_cast<double>(value_of(padded, row * in + i)) *
                           static_cast<double>(value_of(weight, (tap * out + o) * in + i));
                }
            }
            const float biased = static_cast<float>(sum) + bias[o];
            static_cast<float *>(dst->data)[position * out + o] = added ? added[o] + biased : biased;
        }
    }
}

}  // namespace ltx
