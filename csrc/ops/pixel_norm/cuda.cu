#include "kernels/cuda/kernel.cuh"
#include "ops/pad/frame_pieces.cuh"
#include "ops/pixel_norm/pixel_norm.h"

namespace ltx {

namespace {

using namespace cuda;

struct Arguments {
    Frames x;
    void * out;  // without gaps
    int64_t width, height;
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
    const int64_t line = row / a.width;
    const auto * x = a.x.at<float>(row % a.width, line % a.height, line / a.height);
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
    return have_rows(GGML_TYPE_F32, {node->src[0]}) && is_float_type(node->type) && ggml_is_contiguous(node);
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const Arguments arguments{
        frames_of(x),
        node->data,
        x->ne[1],
        x->ne[2],
        ggml_nrows(node),
        static_cast<int>(x->ne[0]),
        constants_of<PixelNormConstants>(node).eps,
    };
    const bool packed = packs({x, node});
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
