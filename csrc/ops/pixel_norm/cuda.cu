#include "ops/cuda/kernel.cuh"
#include "ops/pixel_norm/pixel_norm.h"

namespace ltx {

namespace {

using namespace cuda;

struct Arguments {
    const float * x;
    void * out;             // without gaps
    int64_t ne1, ne2;       // positions of a line, lines of a frame
    int64_t nb1, nb2, nb3;  // bytes
    int64_t rows;
    int channels;
    float eps;
};

template <typename Out, int kThreads, int kPack>
__global__ void pixel_norm_silu_kernel(Arguments a) {
    const int64_t row = row_of_threads<kThreads>();
    if (row >= a.rows) {
        return;
    }
    const int64_t line = row / a.ne1;
    const float * x = row_at(a.x, 1, row % a.ne1 * a.nb1 + line % a.ne2 * a.nb2 + line / a.ne2 * a.nb3);
    Out * out = static_cast<Out *>(a.out) + row * a.channels;
    const float factor = inverse_rms<kThreads, kPack>(x, a.channels, a.eps);
    for (int c = threadIdx.x * kPack; c < a.channels; c += kThreads * kPack) {
        Floats<kPack> values = load<kPack>(x + c);
#pragma unroll
        for (int j = 0; j < kPack; ++j) {
            values.v[j] = silu(values.v[j] * factor);
        }
        store<kPack>(out + c, values);
    }
}

bool supports(const ggml_tensor * node) {
    return has_rows(node->src[0], GGML_TYPE_F32) && is_float_type(node->type) && ggml_is_contiguous(node);
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const Arguments arguments{
        data_of<const float>(x),
        node->data,
        x->ne[1],
        x->ne[2],
        static_cast<int64_t>(x->nb[1]),
        static_cast<int64_t>(x->nb[2]),
        static_cast<int64_t>(x->nb[3]),
        ggml_nrows(node),
        static_cast<int>(x->ne[0]),
        constants_of<PixelNormConstants>(node).eps,
    };
    const bool packed = packs(x, 4) && packs(node, 4);
    with_type(node->type, [&]<typename Out>() {
        with_row_shape(x->ne[0], packed, [&]<int kThreads, int kPack>() {
            launch_rows<kThreads>("pixel_norm_silu", call, &pixel_norm_silu_kernel<Out, kThreads, kPack>,
                                  arguments.rows, arguments);
        });
    });
}

}  // namespace

extern const CudaOp kPixelNormSiluCuda{&pixel_norm_silu_cpu, &supports, &enqueue};

}  // namespace ltx
