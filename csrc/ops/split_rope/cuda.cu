#include "ops/cuda/kernel.cuh"
#include "ops/split_rope/split_rope.h"

namespace ltx {

namespace {

using namespace cuda;

struct Arguments {
    const float * x;
    const float * weight;
    const float * cos;  // null: no rotation
    const float * sin;
    void * out;                                // without gaps
    int64_t x_stride, cos_stride, sin_stride;  // bytes
    int64_t tokens;
    int width;
    int half;  // of a head
    float eps;
};

template <typename Out, int kThreads, int kPack>
__global__ void norm_split_rope_kernel(Arguments a) {
    const int64_t token = row_of_threads<kThreads>();
    if (token >= a.tokens) {
        return;
    }
    const float * x = row_at(a.x, a.x_stride, token);
    Out * out = static_cast<Out *>(a.out) + token * a.width;
    const float factor = inverse_rms<kThreads, kPack>(x, a.width, a.eps);
    if (!a.cos) {
        for (int i = threadIdx.x * kPack; i < a.width; i += kThreads * kPack) {
            Floats<kPack> values = load<kPack>(x + i);
            const Floats<kPack> weights = load<kPack>(a.weight + i);
#pragma unroll
            for (int j = 0; j < kPack; ++j) {
                values.v[j] = values.v[j] * factor * weights.v[j];
            }
            store<kPack>(out + i, values);
        }
        return;
    }
    const float * cos = row_at(a.cos, a.cos_stride, token);
    const float * sin = row_at(a.sin, a.sin_stride, token);
    for (int pair = threadIdx.x * kPack; pair < a.width / 2; pair += kThreads * kPack) {
        const int first = pair / a.half * 2 * a.half + pair % a.half;
        const int second = first + a.half;
        Floats<kPack> low = load<kPack>(x + first);
        Floats<kPack> high = load<kPack>(x + second);
        const Floats<kPack> low_weights = load<kPack>(a.weight + first);
        const Floats<kPack> high_weights = load<kPack>(a.weight + second);
        const Floats<kPack> c = load<kPack>(cos + pair);
        const Floats<kPack> s = load<kPack>(sin + pair);
#pragma unroll
        for (int j = 0; j < kPack; ++j) {
            const float l = low.v[j] * factor * low_weights.v[j];
            const float h = high.v[j] * factor * high_weights.v[j];
            low.v[j] = l * c.v[j] - h * s.v[j];
            high.v[j] = h * c.v[j] + l * s.v[j];
        }
        store<kPack>(out + first, low);
        store<kPack>(out + second, high);
    }
}

bool supports(const ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const bool rotates = node->src[2] != nullptr;
    return has_rows(x, GGML_TYPE_F32) && has_rows(node->src[1], GGML_TYPE_F32) &&
           (!rotates || (has_rows(node->src[2], GGML_TYPE_F32) && has_rows(node->src[3], GGML_TYPE_F32))) &&
           is_float_type(node->type) && ggml_is_contiguous(node) && node->ne[0] * node->ne[1] == x->ne[0];
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * weight = node->src[1];
    const ggml_tensor * cos = node->src[2];
    const ggml_tensor * sin = node->src[3];
    const int64_t half = node->ne[0] / 2;
    const Arguments arguments{
        data_of<const float>(x),
        data_of<const float>(weight),
        cos ? data_of<const float>(cos) : nullptr,
        sin ? data_of<const float>(sin) : nullptr,
        node->data,
        static_cast<int64_t>(x->nb[1]),
        cos ? static_cast<int64_t>(cos->nb[1]) : 0,
        sin ? static_cast<int64_t>(sin->nb[1]) : 0,
        x->ne[1],
        static_cast<int>(x->ne[0]),
        static_cast<int>(half),
        constants_of<NormSplitRopeConstants>(node).eps,
    };
    const bool packed = packs(x, 4) && packs(weight, 4) && packs(node, 4) &&
                        (!cos || (half % 4 == 0 && packs(cos, 4) && packs(sin, 4)));
    with_type(node->type, [&]<typename Out>() {
        with_row_shape(x->ne[0], packed, [&]<int kThreads, int kPack>() {
            launch_rows<kThreads>("norm_split_rope", call, &norm_split_rope_kernel<Out, kThreads, kPack>, x->ne[1],
                                  arguments);
        });
    });
}

}  // namespace

extern const CudaOp kNormSplitRopeCuda{&norm_split_rope_cpu, &supports, &enqueue};

}  // namespace ltx
