#include "kernels/simd_math.h"
#include "ops/bias_gelu/bias_gelu.h"

namespace ltx {

namespace {

// 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u)), which keeps its relative precision for negative u.
LTX_ALWAYS_INLINE float gelu(float y) {
    constexpr float kMinusTwoSqrt2OverPi = -1.5957691216057308f;
    constexpr float kCubic = 0.044715f;
    return y / (1.0f + vector_exp(kMinusTwoSqrt2OverPi * (y + kCubic * (y * y * y))));
}

LTX_TARGET_CLONES
void gelu_row(const float * __restrict x, float * __restrict out, int64_t width) {
    for (int64_t i = 0; i < width; ++i) {
        out[i] = gelu(x[i]);
    }
}

LTX_TARGET_CLONES
void bias_gelu_row(const float * __restrict x, const float * __restrict bias, float * __restrict out, int64_t width) {
    for (int64_t i = 0; i < width; ++i) {
        out[i] = gelu(x[i] + bias[i]);
    }
}

}  // namespace

void bias_gelu_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * bias = node->src[1];
    const auto [begin, end] = rows_of_thread(node->ne[1], thread, num_threads);
    for (int64_t token = begin; token < end; ++token) {
        if (bias) {
            bias_gelu_row(row_of(x, token), row_of(bias, 0), row_of(node, token), node->ne[0]);
        } else {
            gelu_row(row_of(x, token), row_of(node, token), node->ne[0]);
        }
    }
}

}  // namespace ltx
