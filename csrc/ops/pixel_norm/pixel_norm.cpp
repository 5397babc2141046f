#include "ops/pixel_norm/pixel_norm.h"

#include <bit>
#include <cmath>

#include "base/simd.h"
#include "graph/custom_node.h"

namespace ltx {

namespace {

struct Params {
    float eps;
};

// exp(x) for x in [-87, 87] within 2 units in the last place, in operations a compiler vectorises: x = n ln 2 + r, a
// Taylor polynomial of degree 6 for r, n into the exponent. Adding 1.5 * 2^23 rounds to an integer.
LTX_ALWAYS_INLINE float bounded_exp(float x) {
    constexpr float kRound = 12582912.0f;
    constexpr float kLn2High = 0.693359375f;  // ln 2 in two parts, so that n times the first is exact
    constexpr float kLn2Low = -2.12194440e-4f;
    const float shifted = x * 1.44269504f + kRound;
    const float n = shifted - kRound;
    const float r = (x - n * kLn2High) - n * kLn2Low;
    float p = 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const int32_t exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
    return p * std::bit_cast<float>((exponent + 127) << 23);
}

LTX_TARGET_CLONES
float mean_square(const float * x, int64_t channels) {
    float lanes[kLanes] = {};
    int64_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
        for (int64_t lane = 0; lane < kLanes; ++lane) {
            lanes[lane] += x[c + lane] * x[c + lane];
        }
    }
    for (int64_t lane = 0; c < channels; ++c, ++lane) {
        lanes[lane] += x[c] * x[c];
    }
    return sum_lanes(lanes) / static_cast<float>(channels);
}

LTX_TARGET_CLONES
void scale_silu(const float * x, float * y, int64_t channels, float scale) {
    for (int64_t c = 0; c < channels; ++c) {
        const float value = x[c] * scale;
        const float bounded = value < -87.0f ? -87.0f : (value > 87.0f ? 87.0f : value);
        y[c] = value / (1.0f + bounded_exp(-bounded));
    }
}

void kernel(ggml_tensor * dst, int ith, int nth, void *) {
    const ggml_tensor * x = dst->src[0];
    const auto params = custom_params<Params>(dst);
    const int64_t rows = ggml_nrows(dst);
    for (int64_t r = rows * ith / nth; r < rows * (ith + 1) / nth; ++r) {
        const int64_t i1 = r % x->ne[1];
        const int64_t i2 = r / x->ne[1] % x->ne[2];
        const int64_t i3 = r / (x->ne[1] * x->ne[2]);
        const auto * from = static_cast<const char *>(x->data) + i1 * x->nb[1] + i2 * x->nb[2] + i3 * x->nb[3];
        pixel_norm_silu_row(reinterpret_cast<const float *>(from), static_cast<float *>(dst->data) + r * x->ne[0],
                            x->ne[0], params.eps);
    }
}

}  // namespace

void pixel_norm_silu_row(const float * x, float * y, int64_t channels, float eps) {
    scale_silu(x, y, channels, 1.0f / std::sqrt(mean_square(x, channels) + eps));
}

ggml_tensor * pixel_norm_silu(Graph & graph, ggml_tensor * x, float eps) {
    if (graph.form() == OpForm::Composed) {
        return ggml_silu(graph.ctx(), ggml_rms_norm(graph.ctx(), x, eps));
    }
    return custom_node(graph.ctx(), GGML_TYPE_F32, {x->ne[0], x->ne[1], x->ne[2], x->ne[3]}, {x}, kernel, Params{eps});
}

}  // namespace ltx
