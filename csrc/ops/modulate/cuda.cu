#include "ops/cuda/kernel.cuh"
#include "ops/modulate/modulate.h"

namespace ltx {

namespace {

using namespace cuda;

struct Arguments {
    const float * x;
    const float * scale;
    const float * shift;
    const int32_t * rows;
    void * out;
    int64_t x_stride, scale_stride, shift_stride, out_stride;  // bytes
    int64_t tokens, distinct_scales, distinct_shifts;
    int width;
    ModulateConstants constants;
};

template <typename Out, int kThreads, int kPack>
__global__ void modulate_kernel(Arguments a) {
    const int64_t token = row_of_threads<kThreads>();
    if (token >= a.tokens) {
        return;
    }
    const float * x = row_at(a.x, a.x_stride, token);
    Out * out = row_at(static_cast<Out *>(a.out), a.out_stride, token);
    const int64_t row = a.rows ? a.rows[token] : 0;
    if (row < 0 || row >= a.distinct_scales || row >= a.distinct_shifts) {
        for (int i = threadIdx.x; i < a.width; i += kThreads) {
            out[i] = from_float<Out>(nanf(""));
        }
        return;
    }
    const float * scale = row_at(a.scale, a.scale_stride, row);
    const float * shift = row_at(a.shift, a.shift_stride, row);
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
    return has_rows(node->src[0], GGML_TYPE_F32) && has_rows(node->src[1], GGML_TYPE_F32) &&
           has_rows(node->src[2], GGML_TYPE_F32) && (!node->src[3] || has_rows(node->src[3], GGML_TYPE_I32)) &&
           is_float_type(node->type) && ggml_is_contiguous(node);
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * scale = node->src[1];
    const ggml_tensor * shift = node->src[2];
    const Arguments arguments{
        data_of<const float>(x),
        data_of<const float>(scale),
        data_of<const float>(shift),
        node->src[3] ? data_of<const int32_t>(node->src[3]) : nullptr,
        node->data,
        static_cast<int64_t>(x->nb[1]),
        static_cast<int64_t>(scale->nb[1]),
        static_cast<int64_t>(shift->nb[1]),
        static_cast<int64_t>(node->nb[1]),
        node->ne[1],
        scale->ne[1],
        shift->ne[1],
        static_cast<int>(x->ne[0]),
        constants_of<ModulateConstants>(node),
    };
    const bool packed = packs(x, 4) && packs(scale, 4) && packs(shift, 4) && packs(node, 4);
    with_type(node->type, [&]<typename Out>() {
        with_row_shape(x->ne[0], packed, [&]<int kThreads, int kPack>() {
            launch_rows<kThreads>("modulate", call, &modulate_kernel<Out, kThreads, kPack>, node->ne[1], arguments);
        });
    });
}

}  // namespace

extern const CudaOp kModulateCuda{&modulate_cpu, &supports, &enqueue};

}  // namespace ltx
