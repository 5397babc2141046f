#include "ops/bias_gelu/bias_gelu.h"
#include "ops/cuda/kernel.cuh"

namespace ltx {

namespace {

using namespace cuda;

struct Arguments {
    const float * x;
    const float * bias;
    void * out;
    int64_t x_stride, out_stride;  // bytes
    int64_t tokens;
    int width;
};

// 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u)), which keeps its relative precision for negative u.
__device__ float gelu(float y) {
    constexpr float kMinusTwoSqrt2OverPi = -1.5957691216057308f;
    constexpr float kCubic = 0.044715f;
    return y / (1.0f + expf(kMinusTwoSqrt2OverPi * (y + kCubic * (y * y * y))));
}

template <typename Out, int kThreads, int kPack>
__global__ void bias_gelu_kernel(Arguments a) {
    const int64_t token = row_of_threads<kThreads>();
    if (token >= a.tokens) {
        return;
    }
    const float * x = row_at(a.x, a.x_stride, token);
    Out * out = row_at(static_cast<Out *>(a.out), a.out_stride, token);
    for (int i = threadIdx.x * kPack; i < a.width; i += kThreads * kPack) {
        Floats<kPack> values = load<kPack>(x + i);
        Floats<kPack> biases{};
        if (a.bias) {
            biases = load<kPack>(a.bias + i);
        }
#pragma unroll
        for (int j = 0; j < kPack; ++j) {
            values.v[j] = gelu(values.v[j] + biases.v[j]);
        }
        store<kPack>(out + i, values);
    }
}

bool supports(const ggml_tensor * node) {
    return has_rows(node->src[0], GGML_TYPE_F32) && (!node->src[1] || has_rows(node->src[1], GGML_TYPE_F32)) &&
           is_float_type(node->type) && ggml_is_contiguous(node);
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * bias = node->src[1];
    const Arguments arguments{
        data_of<const float>(x),        bias ? data_of<const float>(bias) : nullptr, node->data,
        static_cast<int64_t>(x->nb[1]), static_cast<int64_t>(node->nb[1]),           node->ne[1],
        static_cast<int>(node->ne[0]),
    };
    const bool packed = packs(x, 4) && (!bias || packs(bias, 4)) && packs(node, 4);
    with_type(node->type, [&]<typename Out>() {
        with_row_shape(node->ne[0], packed, [&]<int kThreads, int kPack>() {
            launch_rows<kThreads>("bias_gelu", call, &bias_gelu_kernel<Out, kThreads, kPack>, node->ne[1], arguments);
        });
    });
}

}  // namespace

extern const CudaOp kBiasGeluCuda{&bias_gelu_cpu, &supports, &enqueue};

}  // namespace ltx
