// Products and decoders of emulated launches.
#include "kernels/cuda/cublas.h"

#include "cuda_bf16.h"
#include "ggml-cpu.h"

#include <vector>

namespace ltx::cuda {

void multiply_bf16(const CudaCall &, const Product & p) {
    const auto * weight = static_cast<const __nv_bfloat16 *>(p.weight);
    const auto * x = static_cast<const __nv_bfloat16 *>(p.x);
    const ggml_vec_dot_t dot = ggml_get_type_traits_cpu(GGML_TYPE_BF16)->vec_dot;
    for (int64_t row = 0; row < p.rows; ++row) {
        for (int64_t o = 0; o < p.out; ++o) {
            float sum = 0.0f;
            dot(static_cast<int>(p.in), &sum, 0, weight + o * p.in, 0, x + row * p.x_stride, 0, 1);
            const int64_t at = row * p.result_stride + o;
            if (p.result_type == GGML_TYPE_F32) {
                static_cast<float *>(p.result)[at] = sum;
            } else {
                static_cast<__nv_bfloat16 *>(p.result)[at] = __float2bfloat16(sum);
            }
        }
    }
}

bool can_decode(ggml_type type) {
    return ggml_get_type_traits(type)->to_float != nullptr;
}

void decode_bf16(const CudaCall &, const ggml_tensor * weight, void * to) {
    std::vector<float> row(static_cast<size_t>(weight->ne[0]));
    auto * out = static_cast<__nv_bfloat16 *>(to);
    for (int64_t r = 0; r < ggml_nrows(weight); ++r) {
        ggml_get_type_traits(weight->type)
            ->to_float(static_cast<const char *>(weight->data) + r * static_cast<int64_t>(weight->nb[1]), row.data(),
                       weight->ne[0]);
        for (const float value : row) {
            *out++ = __float2bfloat16(value);
        }
    }
}

}  // namespace ltx::cuda
