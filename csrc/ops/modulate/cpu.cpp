#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/gemm/gemm.h"
#include "kernels/simd_math.h"
#include "ops/modulate/modulate.h"

namespace ltx {

namespace {

LTX_TARGET_CLONES
void modulate_row(const float * __restrict x, const float * __restrict scale, const float * __restrict shift,
                  float * __restrict out, int64_t width, ModulateConstants constants) {
    float centre = 0.0f;
    float factor = 1.0f;
    if (constants.norm == NormKind::Rms) {
        factor = inverse_rms(x, width, constants.eps);
    } else if (constants.norm == NormKind::Layer) {
        centre = mean(x, width);
        factor = 1.0f / std::sqrt(mean_square(x, width, centre) + constants.eps);
    }
    for (int64_t i = 0; i < width; ++i) {
        out[i] = (x[i] - centre) * factor * (1.0f + scale[i]) + shift[i];
    }
}

}  // namespace

void modulate_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * rows = node->src[3];
    const auto constants = constants_of<ModulateConstants>(node);
    const int64_t width = node->src[0]->ne[0];
    const bool rounded = node->type == GGML_TYPE_BF16;
    std::vector<float> row(rounded ? static_cast<size_t>(width) : 0);
    const auto [begin, end] = rows_of_thread(node->ne[1], thread, num_threads);
    for (int64_t token = begin; token < end; ++token) {
        float * out = rounded ? row.data() : row_of(node, token);
        const float * scale = table_row(node->src[1], rows, token);
        const float * shift = table_row(node->src[2], rows, token);
        if (scale && shift) {
            modulate_row(row_of(node->src[0], token), scale, shift, out, width, constants);
        } else {
            std::fill_n(out, width, std::numeric_limits<float>::quiet_NaN());
        }
        if (rounded) {
            to_bf16(out, bf16_row_of(node, token), width);
        }
    }
}

}  // namespace ltx
