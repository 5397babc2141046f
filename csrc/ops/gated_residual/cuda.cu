#include "kernels/cuda/kernel.cuh"
#include "ops/gated_residual/gated_residual.h"

namespace ltx {

namespace {

using namespace cuda;

struct Arguments {
    FloatRows x, branch, gate;
    TokenRows gate_rows;
    float * out;  // without gaps
    int64_t tokens;
    int width;
};

template <int kThreads, int kPack>
__global__ void gated_residual_kernel(Arguments a) {
    const int64_t token = row_of_threads<kThreads>();
    if (token >= a.tokens) {
        return;
    }
    const float * x = a.x.at(token);
    const float * branch = a.branch.at(token);
    float * out = a.out + token * a.width;
    const int64_t row = a.gate_rows.at(token);
    const bool known = row >= 0;
    const float * gate = a.gate.at(known ? row : 0);
    for (int i = threadIdx.x * kPack; i < a.width; i += kThreads * kPack) {
        Floats<kPack> values = load<kPack>(x + i);
        const Floats<kPack> added = load<kPack>(branch + i);
        const Floats<kPack> gates = load<kPack>(gate + i);
#pragma unroll
        for (int j = 0; j < kPack; ++j) {
            values.v[j] = known ? values.v[j] + added.v[j] * gates.v[j] : nanf("");
        }
        store<kPack>(out + i, values);
    }
}

bool supports(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1], node->src[2]}) &&
           have_rows(GGML_TYPE_I32, {node->src[3]}) && node->type == GGML_TYPE_F32 && ggml_is_contiguous(node);
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * branch = node->src[1];
    const ggml_tensor * gate = node->src[2];
    const Arguments arguments{
        float_rows(x),
        float_rows(branch),
        float_rows(gate),
        {node->src[3] ? data_of<const int32_t>(node->src[3]) : nullptr, gate->ne[1]},
        data_of<float>(node),
        node->ne[1],
        static_cast<int>(node->ne[0]),
    };
    with_row_shape(node->ne[0], packs({x, branch, gate, node}), [&]<int kThreads, int kPack>() {
        launch_rows<kThreads>("gated_residual", call, &gated_residual_kernel<kThreads, kPack>, node->ne[1], arguments);
    });
}

}  // namespace

extern const CudaOp kGatedResidualCuda{&gated_residual_cpu, &supports, &enqueue};

}  // namespace ltx
