#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "ggml-cpu.h"
#include "kernels/magnitude.h"
#include "ops/stock_product/stock_product.h"

namespace ltx {

namespace {

LTX_TARGET_CLONES
int32_t largest_bits(const float * x, int64_t count) {
    return largest_magnitude(x, count);
}

LTX_TARGET_CLONES
void scale_row(const float * x, float factor, float * y, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        y[i] = x[i] * factor;
    }
}

float factor_of(int32_t bits, float limit) {
    if (bits >= kInfiniteBits) {
        return std::numeric_limits<float>::quiet_NaN();
    }
    const float largest = std::bit_cast<float>(bits);
    return largest <= limit ? 1.0f : std::exp2(static_cast<float>(std::ilogb(largest) - std::ilogb(limit) + 1));
}

std::byte * row_bytes_of(const ggml_tensor * tensor, int64_t row) {
    return static_cast<std::byte *>(tensor->data) + row * static_cast<int64_t>(tensor->nb[1]);
}

// The factors of so many rows, at the first place behind them that floats may have.
float * factors_of(const ggml_tensor * fitted, int64_t rows) {
    constexpr size_t kFloat = sizeof(float);
    const size_t end = static_cast<size_t>(rows) * fitted->nb[1];
    return reinterpret_cast<float *>(static_cast<std::byte *>(fitted->data) + (end + kFloat - 1) / kFloat * kFloat);
}

}  // namespace

void fit_rows_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * x = node->src[0];
    const int64_t width = x->ne[0];
    const float limit = largest_of_row(node->type);
    const ggml_from_float_t from_float = ggml_get_type_traits_cpu(node->type)->from_float;
    float * factors = factors_of(node, x->ne[1]);
    std::vector<float> scaled;
    const auto [begin, end] = rows_of_thread(x->ne[1], thread, num_threads);
    for (int64_t row = begin; row < end; ++row) {
        const float * values = row_of(x, row);
        const float factor = factor_of(largest_bits(values, width), limit);
        factors[row] = factor;
        if (factor != 1.0f) {
            scaled.resize(static_cast<size_t>(width));
            if (std::isnan(factor)) {
                std::ranges::fill(scaled, 0.0f);
            } else {
                scale_row(values, 1.0f / factor, scaled.data(), width);
            }
            values = scaled.data();
        }
        from_float(values, row_bytes_of(node, row), width);
    }
}

void rescale_rows_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const float * factors = factors_of(node->src[1], node->ne[1]);
    const auto [begin, end] = rows_of_thread(node->ne[1], thread, num_threads);
    for (int64_t row = begin; row < end; ++row) {
        if (factors[row] != 1.0f) {
            scale_row(row_of(node, row), factors[row], row_of(node, row), node->ne[0]);
        }
    }
}

}  // namespace ltx
