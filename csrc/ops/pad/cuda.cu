#include "ops/pad/frame_pieces.cuh"
#include "ops/pad/pad.h"

namespace ltx {

namespace {

using namespace cuda;

struct Arguments {
    SplitFrames frames;
    int64_t total;          // number of them
    void * out;             // without gaps
    int64_t width, height;  // of the result, padding included
    int64_t rows;
    int channels;         // of the result
    int source_channels;  // of the frames; those past them are zero
    PadConstants constants;
};

// A warp or a block writes the channels of one position.
template <typename Out, int kThreads, int kPack>
__global__ void pad_frames_kernel(Arguments a) {
    const int64_t position = row_of_threads<kThreads>();
    if (position >= a.rows) {
        return;
    }
    const int64_t column = position % a.width;
    const int64_t line = position / a.width % a.height;
    const int64_t frame = position / (a.width * a.height) - a.constants.front;
    Out * out = static_cast<Out *>(a.out) + position * a.channels;

    const bool added_frame = frame < 0 || frame >= a.total;
    const bool added_line = line == 0 || line == a.height - 1;
    const bool added_column = column == 0 || column == a.width - 1;
    if ((added_frame && a.constants.temporal == TemporalPad::Zeros) ||
        (added_line && a.constants.spatial == SpatialPad::Zeros)) {
        for (int c = threadIdx.x * kPack; c < a.channels; c += kThreads * kPack) {
            store<kPack>(out + c, Floats<kPack>{});
        }
        return;
    }
    const int64_t source = frame < 0 ? 0 : (frame >= a.total ? a.total - 1 : frame);
    if (source < a.frames.split && a.constants.earlier_is_padded) {
        const auto * from = a.frames.earlier.at<Out>(column, line, source);
        for (int c = threadIdx.x * kPack; c < a.channels; c += kThreads * kPack) {
            store<kPack>(out + c, load<kPack>(from + c));
        }
        return;
    }
    if (added_column && a.constants.spatial == SpatialPad::Zeros) {
        for (int c = threadIdx.x * kPack; c < a.channels; c += kThreads * kPack) {
            store<kPack>(out + c, Floats<kPack>{});
        }
        return;
    }
    // Mirrored without repeating the edge.
    const int64_t y = line == 0 ? 1 : (line == a.height - 1 ? a.height - 4 : line - 1);
    const int64_t x = column == 0 ? 1 : (column == a.width - 1 ? a.width - 4 : column - 1);
    const auto * from = a.frames.at<float>(x, y, source);
    const float factor =
        a.constants.norm_silu ? inverse_rms<kThreads, kPack>(from, a.source_channels, a.constants.eps) : 1.0f;
    for (int c = threadIdx.x * kPack; c < a.channels; c += kThreads * kPack) {
        Floats<kPack> values{};
        if (c < a.source_channels) {
            values = load<kPack>(from + c);
        }
        if (a.constants.norm_silu) {
#pragma unroll
            for (int j = 0; j < kPack; ++j) {
                values.v[j] = silu(values.v[j] * factor);
            }
        }
        store<kPack>(out + c, values);
    }
}

bool supports(const ggml_tensor * node) {
    const auto constants = constants_of<PadConstants>(node);
    const FramePieces pieces = pieces_of(node, 0, constants.pieces);
    const ggml_type earlier_type = constants.earlier_is_padded ? node->type : GGML_TYPE_F32;
    return (pieces.earlier || pieces.frames) && have_rows(earlier_type, {pieces.earlier}) &&
           have_rows(GGML_TYPE_F32, {pieces.frames}) && is_float_type(node->type) && ggml_is_contiguous(node);
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const auto constants = constants_of<PadConstants>(node);
    const FramePieces pieces = pieces_of(node, 0, constants.pieces);
    const Arguments arguments{
        frames_of(pieces),
        frame_count(pieces),
        node->data,
        node->ne[1],
        node->ne[2],
        ggml_nrows(node),
        static_cast<int>(node->ne[0]),
        static_cast<int>((pieces.frames ? pieces.frames : pieces.earlier)->ne[0]),
        constants,
    };
    const bool packed = packs({pieces.earlier, pieces.frames, node});
    with_type(node->type, [&]<typename Out>() {
        with_row_shape(node->ne[0], packed, [&]<int kThreads, int kPack>() {
            launch_rows<kThreads>("pad_frames", call, &pad_frames_kernel<Out, kThreads, kPack>, arguments.rows,
                                  arguments);
        });
    });
}

}  // namespace

extern const CudaOp kPadFramesCuda{&pad_frames_cpu, &supports, &enqueue};

}  // namespace ltx
