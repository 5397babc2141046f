#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/gemm/gemm.h"
#include "kernels/simd_math.h"
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

LTX_TARGET_CLONES
void add_rows(const float * __restrict a, const float * __restrict b, float * __restrict sum, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        sum[i] = a[i] + b[i];
    }
}

LTX_TARGET_CLONES
void add_row(const float * __restrict row, float * __restrict sum, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        sum[i] += row[i];
    }
}

// What a table holds for a token: a row, or the sum of one row per axis, made in `sum`.
const float * angles_of(const ggml_tensor * table, const ggml_tensor * rows, int64_t token, float * sum) {
    if (!rows) {
        return row_of(table, token);
    }
    const int64_t count = table->ne[0];
    const float * total = nullptr;
    for (int64_t axis = 0; axis < rows->ne[1]; ++axis) {
        const auto * of_axis = reinterpret_cast<const int32_t *>(static_cast<const std::byte *>(rows->data) +
                                                                 axis * static_cast<int64_t>(rows->nb[1]));
        const int64_t index = of_axis[token];
        if (index < 0 || index >= table->ne[1]) {
            std::fill_n(sum, count, std::numeric_limits<float>::quiet_NaN());
            return sum;
        }
        const float * row = row_of(table, index);
        if (!total) {
            total = row;
        } else if (total == sum) {
            add_row(row, sum, count);
        } else {
            add_rows(total, row, sum, count);
            total = sum;
        }
    }
    return total;
}

}  // namespace

void norm_split_rope_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * x = node->src[0];
    const float * weight = row_of(node->src[1], 0);
    const ggml_tensor * cos = node->src[2];
    const ggml_tensor * sin = node->src[3];
    const ggml_tensor * rows = node->src[4];
    const float eps = constants_of<NormSplitRopeConstants>(node).eps;
    const int64_t width = x->ne[0];
    const int64_t half = node->ne[0] / 2;
    const bool rounded = node->type == GGML_TYPE_BF16;
    std::vector<float> row(rounded ? static_cast<size_t>(width) : 0);
    std::vector<float> angles(rows ? static_cast<size_t>(width) : 0);
    const auto [begin, end] = rows_of_thread(x->ne[1], thread, num_threads);
    for (int64_t token = begin; token < end; ++token) {
        float * out = rounded ? row.data() : static_cast<float *>(node->data) + token * width;
        if (cos) {
            norm_rotate_row(row_of(x, token), weight, angles_of(cos, rows, token, angles.data()),
                            angles_of(sin, rows, token, angles.data() + (rows ? width / 2 : 0)), out, width, half, eps);
        } else {
            norm_row(row_of(x, token), weight, out, width, eps);
        }
        if (rounded) {
            to_bf16(out, static_cast<Bf16 *>(node->data) + token * width, width);
        }
    }
}

}  // namespace ltx
