#include "ops/conv3d/conv3d.h"
#include "ops/cuda/kernel.cuh"

namespace ltx {

namespace {

using namespace cuda;

// Frames of the residual; strides in bytes.
struct Piece {
    const char * data;
    int64_t nb1, nb2, nb3;
};

struct Finish {
    const float * sums;
    const float * bias;
    float * out;
    Piece earlier, frames;
    int64_t split;  // frames that lie in `earlier`
    int64_t width, height, rows;
    int64_t padded_width, padded_height;
    int channels;
};

template <int kThreads, int kPack>
__global__ void conv3d_finish_kernel(Finish a) {
    const int64_t position = row_of_threads<kThreads>();
    if (position >= a.rows) {
        return;
    }
    const int64_t x = position % a.width;
    const int64_t y = position / a.width % a.height;
    const int64_t t = position / (a.width * a.height);
    const float * sum = a.sums + ((t * a.padded_height + y) * a.padded_width + x) * a.channels;
    const bool is_earlier = t < a.split;
    const Piece & piece = is_earlier ? a.earlier : a.frames;
    const auto * residual = reinterpret_cast<const float *>(
        piece.data ? piece.data + x * piece.nb1 + y * piece.nb2 + (is_earlier ? t : t - a.split) * piece.nb3 : nullptr);
    float * out = a.out + position * a.channels;
    for (int c = threadIdx.x * kPack; c < a.channels; c += kThreads * kPack) {
        Floats<kPack> values = load<kPack>(sum + c);
        const Floats<kPack> biases = load<kPack>(a.bias + c);
        Floats<kPack> added{};
        if (residual) {
            added = load<kPack>(residual + c);
        }
#pragma unroll
        for (int j = 0; j < kPack; ++j) {
            values.v[j] = added.v[j] + (values.v[j] + biases.v[j]);
        }
        store<kPack>(out + c, values);
    }
}

bool supports_finish(const ggml_tensor * node) {
    const FramePieces residual = pieces_of(node, 2, constants_of<ConvFinishConstants>(node).residual);
    const auto is_plain = [](const ggml_tensor * t) { return t && t->type == GGML_TYPE_F32 && ggml_is_contiguous(t); };
    return is_plain(node->src[0]) && is_plain(node->src[1]) && is_plain(node) &&
           (!residual.earlier || has_rows(residual.earlier, GGML_TYPE_F32)) &&
           (!residual.frames || has_rows(residual.frames, GGML_TYPE_F32));
}

Piece piece_of(const ggml_tensor * frames) {
    return frames ? Piece{data_of<const char>(frames), static_cast<int64_t>(frames->nb[1]),
                          static_cast<int64_t>(frames->nb[2]), static_cast<int64_t>(frames->nb[3])}
                  : Piece{};
}

void enqueue_finish(const CudaCall & call, ggml_tensor * node) {
    const auto constants = constants_of<ConvFinishConstants>(node);
    const FramePieces residual = pieces_of(node, 2, constants.residual);
    const Finish arguments{
        data_of<const float>(node->src[0]),
        data_of<const float>(node->src[1]),
        data_of<float>(node),
        piece_of(residual.earlier),
        piece_of(residual.frames),
        frame_count(residual.earlier),
        node->ne[1],
        node->ne[2],
        ggml_nrows(node),
        constants.padded_width,
        constants.padded_height,
        static_cast<int>(node->ne[0]),
    };
    const bool packed = packs(node->src[0], 4) && packs(node->src[1], 4) && packs(node, 4) &&
                        (!residual.earlier || packs(residual.earlier, 4)) &&
                        (!residual.frames || packs(residual.frames, 4));
    with_row_shape(node->ne[0], packed, [&]<int kThreads, int kPack>() {
        launch_rows<kThreads>("conv3d_finish", call, &conv3d_finish_kernel<kThreads, kPack>, arguments.rows, arguments);
    });
}

}  // namespace

extern const CudaOp kConv3dFinishCuda{&conv3d_finish_cpu, &supports_finish, &enqueue_finish};

}  // namespace ltx
