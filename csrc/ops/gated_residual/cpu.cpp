#include <algorithm>
#include <limits>

#include "kernels/simd.h"
#include "ops/gated_residual/gated_residual.h"

namespace ltx {

namespace {

LTX_TARGET_CLONES
void gated_residual_row(const float * __restrict x, const float * __restrict branch, const float * __restrict gate,
                        float * __restrict out, int64_t width) {
    for (int64_t i = 0; i < width; ++i) {
        out[i] = x[i] + branch[i] * gate[i];
    }
}

}  // namespace

void gated_residual_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * branch = node->src[1];
    const int64_t width = node->ne[0];
    const auto [begin, end] = rows_of_thread(node->ne[1], thread, num_threads);
    for (int64_t token = begin; token < end; ++token) {
        float * out = row_of(node, token);
        if (const float * gate = table_row(node->src[2], node->src[3], token)) {
            gated_residual_row(row_of(x, token), row_of(branch, token), gate, out, width);
        } else {
            std::fill_n(out, width, std::numeric_limits<float>::quiet_NaN());
        }
    }
}

}  // namespace ltx
