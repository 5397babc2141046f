#include "kernels/cuda/kernel.cuh"
#include "ops/split_rope/split_rope.h"

namespace ltx {

namespace {

using namespace cuda;

struct Arguments {
    FloatRows x;
    const float * weight;
    FloatRows cos, sin;    // none: no rotation
    const int32_t * rows;  // [tokens, axes] in rows of the tables; null: row t is token t's
    int axes;
    int64_t count;  // rows of the tables
    void * out;     // without gaps
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
    const float * x = a.x.at(token);
    Out * out = static_cast<Out *>(a.out) + token * a.width;
    const float factor = inverse_rms<kThreads, kPack>(x, a.width, a.eps);
    if (!a.cos.first) {
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
    const float * cos[kMaxRopeAxes];
    const float * sin[kMaxRopeAxes];
    bool known = true;
#pragma unroll
    for (int axis = 0; axis < kMaxRopeAxes; ++axis) {
        int64_t row = token;
        if (a.rows) {
            row = axis < a.axes ? a.rows[axis * a.tokens + token] : 0;
        }
        known = known && row >= 0 && row < a.count;
        cos[axis] = a.cos.at(known ? row : 0);
        sin[axis] = a.sin.at(known ? row : 0);
    }
    for (int pair = threadIdx.x * kPack; pair < a.width / 2; pair += kThreads * kPack) {
        const int first = pair / a.half * 2 * a.half + pair % a.half;
        const int second = first + a.half;
        Floats<kPack> low = load<kPack>(x + first);
        Floats<kPack> high = load<kPack>(x + second);
        const Floats<kPack> low_weights = load<kPack>(a.weight + first);
        const Floats<kPack> high_weights = load<kPack>(a.weight + second);
        Floats<kPack> c = load<kPack>(cos[0] + pair);
        Floats<kPack> s = load<kPack>(sin[0] + pair);
#pragma unroll
        for (int axis = 1; axis < kMaxRopeAxes; ++axis) {
            if (axis < a.axes) {
                const Floats<kPack> more_c = load<kPack>(cos[axis] + pair);
                const Floats<kPack> more_s = load<kPack>(sin[axis] + pair);
#pragma unroll
                for (int j = 0; j < kPack; ++j) {
                    c.v[j] += more_c.v[j];
                    s.v[j] += more_s.v[j];
                }
            }
        }
#pragma unroll
        for (int j = 0; j < kPack; ++j) {
            const float l = low.v[j] * factor * low_weights.v[j];
            const float h = high.v[j] * factor * high_weights.v[j];
            low.v[j] = known ? l * c.v[j] - h * s.v[j] : nanf("");
            high.v[j] = known ? h * c.v[j] + l * s.v[j] : nanf("");
        }
        store<kPack>(out + first, low);
        store<kPack>(out + second, high);
    }
}

bool supports(const ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    return have_rows(GGML_TYPE_F32, {x, node->src[1], node->src[2], node->src[3]}) &&
           have_rows(GGML_TYPE_I32, {node->src[4]}) && (!node->src[4] || ggml_is_contiguous(node->src[4])) &&
           is_float_type(node->type) && ggml_is_contiguous(node) && node->ne[0] * node->ne[1] == x->ne[0];
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * weight = node->src[1];
    const ggml_tensor * cos = node->src[2];
    const ggml_tensor * sin = node->src[3];
    const ggml_tensor * rows = node->src[4];
    const int64_t half = node->ne[0] / 2;
    const Arguments arguments{
        float_rows(x),
        data_of<const float>(weight),
        float_rows(cos),
        float_rows(sin),
        rows ? data_of<const int32_t>(rows) : nullptr,
        rows ? static_cast<int>(rows->ne[1]) : 1,
        cos ? cos->ne[1] : 0,
        node->data,
        x->ne[1],
        static_cast<int>(x->ne[0]),
        static_cast<int>(half),
        constants_of<NormSplitRopeConstants>(node).eps,
    };
    const bool packed = packs({x, weight, node, cos, sin}) && (!cos || half % 4 == 0);
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
