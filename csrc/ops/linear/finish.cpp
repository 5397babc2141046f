#include "ops/linear/finish.h"

#include <algorithm>
#include <limits>

#include "kernels/gemm/gemm.h"
#include "kernels/simd_math.h"

namespace ltx {

namespace {

LTX_TARGET_CLONES
void finish_row(const float * __restrict sums, const float * __restrict bias, const float * __restrict residual,
                const float * __restrict gate, float * __restrict out, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        const float y = bias ? sums[i] + bias[i] : sums[i];
        const float gated = gate ? y * gate[i] : y;
        out[i] = residual ? residual[i] + gated : gated;
    }
}

// 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u)), as in bias_gelu.
LTX_TARGET_CLONES
void gelu_row(const float * __restrict sums, const float * __restrict bias, float * __restrict out, int64_t count) {
    constexpr float kMinusTwoSqrt2OverPi = -1.5957691216057308f;
    constexpr float kCubic = 0.044715f;
    for (int64_t i = 0; i < count; ++i) {
        const float y = bias ? sums[i] + bias[i] : sums[i];
        out[i] = y / (1.0f + vector_exp(kMinusTwoSqrt2OverPi * (y + kCubic * (y * y * y))));
    }
}

}  // namespace

void finish_columns(const LinearSources & in, ggml_tensor * node, int64_t row, int64_t first, int64_t count,
                    const float * sums) {
    const float * bias = in.bias ? row_of(in.bias, 0) + first : nullptr;
    const float * gate = in.gate ? table_row(in.gate, in.gate_rows, row) : nullptr;
    float rounded_later[kFinishedColumns];
    const bool rounded = node->type == GGML_TYPE_BF16;
    float * out = rounded ? rounded_later : row_of(node, row) + first;
    if (in.gate && !gate) {
        std::fill_n(out, count, std::numeric_limits<float>::quiet_NaN());
    } else if (constants_of<LinearConstants>(node).gelu) {
        gelu_row(sums, bias, out, count);
    } else {
        finish_row(sums, bias, in.residual ? row_of(in.residual, row) + first : nullptr, gate ? gate + first : nullptr,
                   out, count);
    }
    if (rounded) {
        to_bf16(rounded_later, bf16_row_of(node, row) + first, count);
    }
}

}  // namespace ltx
