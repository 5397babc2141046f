// Products with their epilogues of emulated launches: the roundings of cuBLASLt, by a loop.
#include "kernels/cuda/cublas_lt.h"

#include <cmath>
#include <cstring>

#include "cuda_bf16.h"
#include "emulation.h"

#include <vector>

namespace ltx::cuda {

namespace {

float gelu(float x) {
    constexpr float kSqrt2OverPi = 0.7978845608028654f;
    constexpr float kCubic = 0.044715f;
    return 0.5f * x * (1.0f + std::tanh(kSqrt2OverPi * (x + kCubic * (x * x * x))));
}

template <typename T>
float element(const void * data, int64_t index) {
    const T value = static_cast<const T *>(data)[index];
    if constexpr (std::is_same_v<T, float>) {
        return value;
    } else {
        return __bfloat162float(value);
    }
}

template <typename T>
void finish(const FusedProduct & fused, const std::vector<float> & sums) {
    const Product & p = fused.product;
    for (int64_t i = 0; i < p.rows * p.out; ++i) {
        float value = sums[static_cast<size_t>(i)];
        if (fused.bias) {
            value += element<T>(fused.bias, i % p.out);
        }
        if (fused.gelu) {
            value = gelu(value);
        }
        T & result = static_cast<T *>(p.result)[i / p.out * p.result_stride + i % p.out];
        if constexpr (std::is_same_v<T, float>) {
            result = value;
        } else {
            result = __float2bfloat16(value);
        }
    }
}

}  // namespace

std::optional<FusedPlan> plan_fused(const CudaCall &, const FusedProduct &) {
    if (emulated::lt().answer == emulated::LtAnswer::NoPlan) {
        return std::nullopt;
    }
    return FusedPlan{.algorithm = {}, .workspace_bytes = kMostWorkspaceBytes};
}

bool multiply_fused(const CudaCall & call, const FusedProduct & fused, const FusedPlan & plan, void * workspace) {
    if (emulated::lt().answer == emulated::LtAnswer::Refuses) {
        return false;
    }
    ++emulated::lt().products;
    // Splits of a sum lie here.
    std::memset(workspace, 0xff, 1);
    std::memset(static_cast<char *>(workspace) + plan.workspace_bytes - 1, 0xff, 1);
    const Product & p = fused.product;
    std::vector<float> sums(static_cast<size_t>(p.rows * p.out));
    Product product = p;
    product.result = sums.data();
    product.result_type = GGML_TYPE_F32;
    product.result_stride = p.out;
    multiply_bf16(call, product);
    if (p.result_type == GGML_TYPE_F32) {
        finish<float>(fused, sums);
    } else {
        finish<__nv_bfloat16>(fused, sums);
    }
    return true;
}

}  // namespace ltx::cuda
