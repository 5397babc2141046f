#include "kernels/cuda/kernel.cuh"
#include "ops/bias_gelu/bias_gelu.h"

namespace ltx {

namespace {

using namespace cuda;

struct Arguments {
    FloatRows x;
    const float * bias;  // or null
    void * out;          // without gaps
    int64_t tokens;
    int width;
};

template <typename Out, int kThreads, int kPack>
__global__ void bias_gelu_kernel(Arguments a) {
    const int64_t token = row_of_threads<kThreads>();
    if (token >= a.tokens) {
        return;
    }
    const float * x = a.x.at(token);
    Out * out = static_cast<Out *>(a.out) + token * a.width;
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
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1]}) && is_float_type(node->type) &&
           ggml_is_contiguous(node);
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * bias = node->src[1];
    const Arguments arguments{
        float_rows(x),
        bias ? data_of<const float>(bias) : nullptr,
        node->data,
        node->ne[1],
        static_cast<int>(node->ne[0]),
    };
    const bool packed = packs({x, bias, node});
    with_type(node->type, [&]<typename Out>() {
        with_row_shape(node->ne[0], packed, [&]<int kThreads, int kPack>() {
            launch_rows<kThreads>("bias_gelu", call, &bias_gelu_kernel<Out, kThreads, kPack>, node->ne[1], arguments);
        });
    });
}

}  // namespace

extern const CudaOp kBiasGeluCuda{&bias_gelu_cpu, &supports, &enqueue};

}  // namespace ltx
