#include "ops/cuda/kernel.cuh"
#include "ops/gated_residual/gated_residual.h"

namespace ltx {

namespace {

using namespace cuda;

struct Arguments {
    const float * x;
    const float * branch;
    const float * gate;
    const int32_t * rows;
    float * out;
    int64_t x_stride, branch_stride, gate_stride, out_stride;  // bytes
    int64_t tokens, distinct;
    int width;
};

template <int kThreads, int kPack>
__global__ void gated_residual_kernel(Arguments a) {
    const int64_t token = row_of_threads<kThreads>();
    if (token >= a.tokens) {
        return;
    }
    const float * x = row_at(a.x, a.x_stride, token);
    const float * branch = row_at(a.branch, a.branch_stride, token);
    float * out = row_at(a.out, a.out_stride, token);
    const int64_t row = a.rows ? a.rows[token] : 0;
    const bool known = row >= 0 && row < a.distinct;
    const float * gate = row_at(a.gate, a.gate_stride, known ? row : 0);
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
    return has_rows(node->src[0], GGML_TYPE_F32) && has_rows(node->src[1], GGML_TYPE_F32) &&
           has_rows(node->src[2], GGML_TYPE_F32) && (!node->src[3] || has_rows(node->src[3], GGML_TYPE_I32)) &&
           node->type == GGML_TYPE_F32 && ggml_is_contiguous(node);
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * branch = node->src[1];
    const ggml_tensor * gate = node->src[2];
    const Arguments arguments{
        data_of<const float>(x),
        data_of<const float>(branch),
        data_of<const float>(gate),
        node->src[3] ? data_of<const int32_t>(node->src[3]) : nullptr,
        data_of<float>(node),
        static_cast<int64_t>(x->nb[1]),
        static_cast<int64_t>(branch->nb[1]),
        static_cast<int64_t>(gate->nb[1]),
        static_cast<int64_t>(node->nb[1]),
        node->ne[1],
        gate->ne[1],
        static_cast<int>(node->ne[0]),
    };
    const bool packed = packs(x, 4) && packs(branch, 4) && packs(gate, 4) && packs(node, 4);
    with_row_shape(node->ne[0], packed, [&]<int kThreads, int kPack>() {
        launch_rows<kThreads>("gated_residual", call, &gated_residual_kernel<kThreads, kPack>, node->ne[1], arguments);
    });
}

}  // namespace

extern const CudaOp kGatedResidualCuda{&gated_residual_cpu, &supports, &enqueue};

}  // namespace ltx
