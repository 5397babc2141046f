#include <vector>

#include "base/simd_math.h"
#include "ops/gemm/gemm.h"
#include "ops/split_rope/split_rope.h"

namespace ltx {

namespace {

LTX_TARGET_CLONES
void norm_row(const float * __restrict x, const float * __restrict weight, float * __restrict out, int64_t width,
              float eps) {
    const float factor = inverse_rms(x, width, eps);
    for (int64_t i = 0; i < width; ++i) {
        out[i] = x[i] * factor * weight[i];
    }
}

LTX_TARGET_CLONES
void norm_rotate_row(const float * __restrict x, const float * __restrict weight, const float * __restrict cos,
                     const float * __restrict sin, float * __restrict out, int64_t width, int64_t half, float eps) {
    const float factor = inverse_rms(x, width, eps);
    for (int64_t start = 0; start < width; start += 2 * half) {
        for (int64_t r = 0; r < half; ++r) {
            const float low = x[start + r] * factor * weight[start + r];
            const float high = x[start + half + r] * factor * weight[start + half + r];
            const float c = cos[start / 2 + r];
            const float s = sin[start / 2 + r];
            out[start + r] = low * c - high * s;
            out[start + half + r] = high * c + low * s;
        }
    }
}

}  // namespace

void norm_split_rope_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * x = node->src[0];
    const float * weight = row_of(node->src[1], 0);
    const ggml_tensor * cos = node->src[2];
    const ggml_tensor * sin = node->src[3];
    const float eps = constants_of<NormSplitRopeConstants>(node).eps;
    const int64_t width = x->ne[0];
    const int64_t half = node->ne[0] / 2;
    const bool rounded = node->type == GGML_TYPE_BF16;
    std::vector<float> row(rounded ? static_cast<size_t>(width) : 0);
    const auto [begin, end] = rows_of_thread(x->ne[1], thread, num_threads);
    for (int64_t token = begin; token < end; ++token) {
        float * out = rounded ? row.data() : static_cast<float *>(node->data) + token * width;
        if (cos) {
            norm_rotate_row(row_of(x, token), weight, row_of(cos, token), row_of(sin, token), out, width, half, eps);
        } else {
            norm_row(row_of(x, token), weight, out, width, eps);
        }
        if (rounded) {
            to_bf16(out, static_cast<Bf16 *>(node->data) + token * width, width);
        }
    }
}

}  // namespace ltx
