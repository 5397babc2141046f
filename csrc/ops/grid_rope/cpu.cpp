#include <array>
#include <cmath>
#include <vector>

#include "kernels/simd_math.h"
#include "ops/grid_rope/grid_rope.h"

namespace ltx {

namespace {

constexpr double kTheta = 10000.0;

// cos and sin of every index along one axis, (count, width / 2) each.
struct AxisAngles {
    int64_t pairs;
    std::vector<float> cos;
    std::vector<float> sin;

    AxisAngles(int64_t count, int64_t width)
        : pairs(width / 2), cos(static_cast<size_t>(count * pairs)), sin(cos.size()) {
        for (int64_t i = 0; i < pairs; ++i) {
            const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(width);
            const auto frequency = static_cast<float>(std::pow(kTheta, exponent));
            for (int64_t index = 0; index < count; ++index) {
                const float angle = static_cast<float>(index) * frequency;
                cos[static_cast<size_t>(index * pairs + i)] = std::cos(angle);
                sin[static_cast<size_t>(index * pairs + i)] = std::sin(angle);
            }
        }
    }
};

LTX_TARGET_CLONES
void norm_head(float * __restrict x, const float * __restrict weight, int64_t head_dim, float scale, float eps) {
    const float factor = inverse_rms(x, head_dim, eps) * scale;
    for (int64_t i = 0; i < head_dim; ++i) {
        x[i] = x[i] * factor * weight[i];
    }
}

LTX_TARGET_CLONES
void rotate_pairs(float * __restrict x, const float * __restrict cos, const float * __restrict sin, int64_t pairs) {
    for (int64_t i = 0; i < pairs; ++i) {
        const float even = x[2 * i];
        const float odd = x[2 * i + 1];
        x[2 * i] = even * cos[i] - odd * sin[i];
        x[2 * i + 1] = even * sin[i] + odd * cos[i];
    }
}

}  // namespace

void norm_grid_rope_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * x = node->src[0];
    const auto constants = constants_of<NormGridRopeConstants>(node);
    const int64_t head_dim = node->src[1]->ne[0];
    const int64_t channels = x->ne[0] / 3;
    const std::array<int64_t, 3> parts = grid_rope_parts(head_dim);
    const std::array<AxisAngles, 3> angles{AxisAngles(x->ne[3], parts[0]), AxisAngles(x->ne[2], parts[1]),
                                           AxisAngles(x->ne[1], parts[2])};
    const auto [begin, end] = rows_of_thread(x->ne[1] * x->ne[2] * x->ne[3], thread, num_threads);
    for (int64_t token = begin; token < end; ++token) {
        const std::array<int64_t, 3> place{token / (x->ne[1] * x->ne[2]), token / x->ne[1] % x->ne[2],
                                           token % x->ne[1]};
        for (int64_t start = 0; start < 2 * channels; start += head_dim) {
            const bool is_query = start < channels;
            float * part = row_of(x, token) + start;
            norm_head(part, static_cast<const float *>(node->src[is_query ? 1 : 2]->data), head_dim,
                      is_query ? constants.scale : 1.0f, constants.eps);
            for (size_t axis = 0; axis < parts.size(); ++axis) {
                const int64_t row = place[axis] * angles[axis].pairs;
                rotate_pairs(part, angles[axis].cos.data() + row, angles[axis].sin.data() + row, angles[axis].pairs);
                part += parts[axis];
            }
        }
    }
}

}  // namespace ltx
