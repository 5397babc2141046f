#include "kernels/simd_math.h"
#include "ops/pixel_norm/pixel_norm.h"

namespace ltx {

namespace {

LTX_TARGET_CLONES
void norm_silu(const float * x, float * y, int64_t channels, float eps) {
    const float scale = inverse_rms(x, channels, eps);
    for (int64_t c = 0; c < channels; ++c) {
        const float value = x[c] * scale;
        y[c] = value / (1.0f + vector_exp(-value));
    }
}

}  // namespace

void pixel_norm_silu_row(const float * x, float * y, int64_t channels, float eps) {
    norm_silu(x, y, channels, eps);
}

void pixel_norm_silu_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * x = node->src[0];
    const auto constants = constants_of<PixelNormConstants>(node);
    const auto [begin, end] = rows_of_thread(ggml_nrows(node), thread, num_threads);
    for (int64_t row = begin; row < end; ++row) {
        const int64_t i1 = row % x->ne[1];
        const int64_t i2 = row / x->ne[1] % x->ne[2];
        const int64_t i3 = row / (x->ne[1] * x->ne[2]);
        const auto * from = static_cast<const std::byte *>(x->data) + i1 * x->nb[1] + i2 * x->nb[2] + i3 * x->nb[3];
        norm_silu(reinterpret_cast<const float *>(from), static_cast<float *>(node->data) + row * x->ne[0], x->ne[0],
                  constants.eps);
    }
}

}  // namespace ltx
