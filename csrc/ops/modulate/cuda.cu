#include <algorithm>

#include "kernels/cuda/kernel.cuh"
#include "ops/modulate/modulate.h"

namespace ltx {

namespace {

using namespace cuda;

struct Arguments {
    FloatRows x, scale, shift;
    TokenRows rows;
    void * out;
    int64_t out_stride;  // bytes; rounded rows may lie apart
    int64_t tokens;
    int width;
    ModulateConstants constants;
};

template <typename Out, int kThreads, int kPack>
__global__ void modulate_kernel(Arguments a) {
    const int64_t token = row_of_threads<kThreads>();
    if (token >= a.tokens) {
        return;
    }
    const float * x = a.x.at(token);
    Out * out = row_at(static_cast<Out *>(a.out), a.out_stride, token);
    const int64_t row = a.rows.at(token);
    if (row < 0) {
        for (int i = threadIdx.x; i < a.width; i += kThreads) {
            out[i] = from_float<Out>(nanf(""));
        }
        return;
    }
    const float * scale = a.scale.at(row);
    const float * shift = a.shift.at(row);
    float centre = 0.0f;
    float factor = 1.0f;
    if (a.constants.norm == NormKind::Rms) {
        factor = inverse_rms<kThreads, kPack>(x, a.width, a.constants.eps);
    } else if (a.constants.norm == NormKind::Layer) {
        float sum = 0.0f;
        for (int i = threadIdx.x; i < a.width; i += kThreads) {
            sum += x[i];
        }
        centre = sum_of_row<kThreads>(sum) / static_cast<float>(a.width);
        float squares = 0.0f;
        for (int i = threadIdx.x; i < a.width; i += kThreads) {
            squares += (x[i] - centre) * (x[i] - centre);
        }
        factor = 1.0f / sqrtf(sum_of_row<kThreads>(squares) / static_cast<float>(a.width) + a.constants.eps);
    }
    for (int i = threadIdx.x * kPack; i < a.width; i += kThreads * kPack) {
        Floats<kPack> values = load<kPack>(x + i);
        const Floats<kPack> scales = load<kPack>(scale + i);
        const Floats<kPack> shifts = load<kPack>(shift + i);
#pragma unroll
        for (int j = 0; j < kPack; ++j) {
            values.v[j] = (values.v[j] - centre) * factor * (1.0f + scales.v[j]) + shifts.v[j];
        }
        store<kPack>(out + i, values);
    }
}

bool supports(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1], node->src[2]}) &&
           have_rows(GGML_TYPE_I32, {node->src[3]}) && is_float_type(node->type) && ggml_is_contiguous(node);
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * scale = node->src[1];
    const ggml_tensor * shift = node->src[2];
    const Arguments arguments{
        float_rows(x),
        float_rows(scale),
        float_rows(shift),
        {node->src[3] ? data_of<const int32_t>(node->src[3]) : nullptr, std::min(scale->ne[1], shift->ne[1])},
        node->data,
        static_cast<int64_t>(node->nb[1]),
        node->ne[1],
        static_cast<int>(x->ne[0]),
        constants_of<ModulateConstants>(node),
    };
    const bool packed = packs({x, scale, shift, node});
    with_type(node->type, [&]<typename Out>() {
        with_row_shape(x->ne[0], packed, [&]<int kThreads, int kPack>() {
            launch_rows<kThreads>("modulate", call, &modulate_kernel<Out, kThreads, kPack>, node->ne[1], arguments);
        });
    });
}

}  // namespace

extern const CudaOp kModulateCuda{&modulate_cpu, &supports, &enqueue};

}  // namespace ltx
