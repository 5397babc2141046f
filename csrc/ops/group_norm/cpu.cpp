#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/simd_math.h"
#include "ops/group_norm/group_norm.h"

namespace ltx {

namespace {

// Adds (x - offset)^power of `rows` rows, one sum per channel.
LTX_TARGET_CLONES
void add_powers(const float * x, int64_t pitch, int64_t rows, int64_t channels, float offset, bool squared,
                float * sums) {
    for (int64_t row = 0; row < rows; ++row) {
        const float * values = x + row * pitch;
        for (int64_t c = 0; c < channels; ++c) {
            const float d = values[c] - offset;
            sums[c] += squared ? d * d : d;
        }
    }
}

// Sums short enough for float32, added up in double.
double mean_power(const float * x, int64_t pitch, int64_t rows, int64_t channels, float offset, bool squared) {
    constexpr int64_t kBlock = 256;
    std::vector<float> sums(static_cast<size_t>(channels));
    double total = 0.0;
    for (int64_t row = 0; row < rows; row += kBlock) {
        std::ranges::fill(sums, 0.0f);
        add_powers(x + row * pitch, pitch, std::min(kBlock, rows - row), channels, offset, squared, sums.data());
        for (const float sum : sums) {
            total += static_cast<double>(sum);
        }
    }
    return total / static_cast<double>(rows * channels);
}

LTX_TARGET_CLONES
void apply_row(const float * __restrict x, const float * __restrict weight, const float * __restrict bias,
               const float * __restrict residual, float * __restrict out, int64_t channels, float mean, float scale) {
    for (int64_t c = 0; c < channels; ++c) {
        out[c] = (x[c] - mean) * scale * weight[c] + bias[c];
    }
    // Within one loop the condition becomes masked loads from a null pointer, which qemu 7.2 does not survive.
    if (residual) {
        for (int64_t c = 0; c < channels; ++c) {
            out[c] += residual[c];
        }
    }
    for (int64_t c = 0; c < channels; ++c) {
        out[c] /= 1.0f + vector_exp(-out[c]);
    }
}

}  // namespace

void group_statistics_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * x = node->src[0];
    const auto constants = constants_of<GroupNormConstants>(node);
    const int64_t channels = x->ne[0] / node->ne[1];
    const auto [begin, end] = rows_of_thread(node->ne[1], thread, num_threads);
    for (int64_t group = begin; group < end; ++group) {
        const float * first = static_cast<const float *>(x->data) + group * channels;
        const auto mean = static_cast<float>(mean_power(first, x->ne[0], ggml_nrows(x), channels, 0.0f, false));
        const double variance = mean_power(first, x->ne[0], ggml_nrows(x), channels, mean, true);
        row_of(node, group)[0] = mean;
        row_of(node, group)[1] = static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(constants.eps)));
    }
}

void group_norm_silu_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const auto * x = static_cast<const float *>(node->src[0]->data);
    const ggml_tensor * statistics = node->src[1];
    const auto * weight = static_cast<const float *>(node->src[2]->data);
    const auto * bias = static_cast<const float *>(node->src[3]->data);
    const auto * residual = node->src[4] ? static_cast<const float *>(node->src[4]->data) : nullptr;
    const int64_t width = node->ne[0];
    const int64_t channels = width / statistics->ne[1];
    const auto [begin, end] = rows_of_thread(ggml_nrows(node), thread, num_threads);
    for (int64_t row = begin; row < end; ++row) {
        for (int64_t group = 0; group < statistics->ne[1]; ++group) {
            const int64_t c = group * channels;
            const int64_t at = row * width + c;
            const float * of_group = row_of(statistics, group);
            apply_row(x + at, weight + c, bias + c, residual ? residual + at : nullptr,
                      static_cast<float *>(node->data) + at, channels, of_group[0], of_group[1]);
        }
    }
}

}  // namespace ltx
