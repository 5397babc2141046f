#include <algorithm>

#include "ops/depth_to_space/depth_to_space.h"
#include "ops/pad/frame_pieces.cuh"

namespace ltx {

namespace {

using namespace cuda;

struct CellOffset {
    int time, height, width;
};

// The neighbour that channel offset `index` stands for.
__device__ CellOffset cell_offset(SpaceTimeFactor factor, Packing packing, int index) {
    const int in_plane = index % (factor.height * factor.width);
    const int time = index / (factor.height * factor.width);
    return packing == Packing::WidthFastest ? CellOffset{time, in_plane / factor.width, in_plane % factor.width}
                                            : CellOffset{time, in_plane % factor.height, in_plane / factor.height};
}

// Where all channels of a cell pass through shared memory, so that both sides are accessed in order.
constexpr int64_t kSharedFloats = 8192;

struct DepthToSpace {
    Frames in;
    SplitFrames shortcut;
    float * out;  // without gaps
    int64_t in_width, in_height;
    int64_t out_width, out_height;
    int channels;  // of the result
    int cell;      // positions of one
    int period;    // channels of the result after which the shortcut's repeat
    bool staged;
    DepthToSpaceConstants constants;
};

// A block moves the channels of one position.
__global__ void depth_to_space_kernel(DepthToSpace a) {
    __shared__ float stage[kSharedFloats];
    const int64_t x = blockIdx.x % a.in_width;
    const int64_t y = blockIdx.x / a.in_width % a.in_height;
    const int64_t t = blockIdx.x / (a.in_width * a.in_height);
    const float * from = a.in.at<float>(x, y, t);
    const int total = a.channels * a.cell;
    if (a.staged) {
        for (int i = threadIdx.x; i < total; i += blockDim.x) {
            stage[i] = from[i];
        }
        __syncthreads();
    }
    const auto * added = a.shortcut.at<float>(x, y, t);
    for (int i = threadIdx.x; i < total; i += blockDim.x) {
        const int index = i / a.channels;
        const int c = i % a.channels;
        const SpaceTimeFactor f = a.constants.factor;
        const CellOffset at = cell_offset(f, a.constants.packing, index);
        const int64_t frame = t * f.time + at.time - a.constants.drop_first;
        if (frame < 0) {
            continue;
        }
        float value = a.staged ? stage[c * a.cell + index] : from[c * a.cell + index];
        if (added) {
            value += added[c % a.period * a.cell + index];
        }
        const int64_t position =
            (frame * a.out_height + y * f.height + at.height) * a.out_width + x * f.width + at.width;
        a.out[position * a.channels + c] = value;
    }
}

struct SpaceToDepth {
    Frames in, shortcut;
    float * out;  // without gaps
    int64_t out_width, out_height;
    int in_channels;
    int cell;
    int group;  // channels of the shortcut that make one of the result
    bool staged;
    SpaceToDepthConstants constants;
};

// A block fills the channels of one position.
__global__ void space_to_depth_kernel(SpaceToDepth a) {
    __shared__ float stage[kSharedFloats];
    const int64_t x = blockIdx.x % a.out_width;
    const int64_t y = blockIdx.x / a.out_width % a.out_height;
    const int64_t t = blockIdx.x / (a.out_width * a.out_height);
    const int total = a.in_channels * a.cell;
    const SpaceTimeFactor f = a.constants.factor;
    float * out = a.out + static_cast<int64_t>(blockIdx.x) * total;
    const auto source = [&](const Frames & frames, int index, int64_t lead) {
        const CellOffset at = cell_offset(f, a.constants.packing, index);
        const int64_t frame = t * f.time + at.time - lead;
        return frames.at<float>(x * f.width + at.width, y * f.height + at.height, frame < 0 ? 0 : frame);
    };
    if (a.staged) {
        for (int i = threadIdx.x; i < total; i += blockDim.x) {
            const int index = i / a.in_channels;
            const int c = i % a.in_channels;
            stage[c * a.cell + index] = source(a.in, index, 0)[c];
        }
        __syncthreads();
    }
    for (int o = threadIdx.x; o < total; o += blockDim.x) {
        float value = a.staged ? stage[o] : source(a.in, o % a.cell, 0)[o / a.cell];
        if (a.group > 0) {
            float sum = 0.0f;
            for (int k = o * a.group; k < (o + 1) * a.group; ++k) {
                sum += source(a.shortcut, k % a.cell, a.constants.lead)[k / a.cell];
            }
            value += sum / static_cast<float>(a.group);
        }
        out[o] = value;
    }
}

dim3 block_of(int64_t values) {
    return dim3(static_cast<unsigned>(std::clamp<int64_t>(ceil_div(values, kWarp) * kWarp, kWarp, kBlockThreads)));
}

bool supports_depth_to_space(const ggml_tensor * node) {
    const FramePieces shortcut = pieces_of(node, 1, constants_of<DepthToSpaceConstants>(node).shortcut);
    return have_rows(GGML_TYPE_F32, {node->src[0], shortcut.earlier, shortcut.frames}) && node->type == GGML_TYPE_F32 &&
           ggml_is_contiguous(node);
}

void enqueue_depth_to_space(const CudaCall & call, ggml_tensor * node) {
    const auto constants = constants_of<DepthToSpaceConstants>(node);
    const ggml_tensor * in = node->src[0];
    const FramePieces shortcut = pieces_of(node, 1, constants.shortcut);
    const int64_t cell = constants.factor.product();
    const ggml_tensor * any_shortcut = shortcut.earlier ? shortcut.earlier : shortcut.frames;
    const DepthToSpace arguments{
        frames_of(in),
        frames_of(shortcut),
        data_of<float>(node),
        in->ne[1],
        in->ne[2],
        node->ne[1],
        node->ne[2],
        static_cast<int>(node->ne[0]),
        static_cast<int>(cell),
        any_shortcut ? static_cast<int>(any_shortcut->ne[0] / cell) : 1,
        in->ne[0] <= kSharedFloats,
        constants,
    };
    launch("depth_to_space", call, &depth_to_space_kernel, dim3(static_cast<unsigned>(ggml_nrows(in))),
           block_of(in->ne[0]), arguments);
}

bool supports_space_to_depth(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1]}) && node->type == GGML_TYPE_F32 &&
           ggml_is_contiguous(node);
}

void enqueue_space_to_depth(const CudaCall & call, ggml_tensor * node) {
    const auto constants = constants_of<SpaceToDepthConstants>(node);
    const ggml_tensor * in = node->src[0];
    const ggml_tensor * shortcut = node->src[1];
    const int64_t cell = constants.factor.product();
    const SpaceToDepth arguments{
        frames_of(in),
        frames_of(shortcut),
        data_of<float>(node),
        node->ne[1],
        node->ne[2],
        static_cast<int>(in->ne[0]),
        static_cast<int>(cell),
        shortcut ? static_cast<int>(shortcut->ne[0] * cell / node->ne[0]) : 0,
        node->ne[0] <= kSharedFloats,
        constants,
    };
    launch("space_to_depth", call, &space_to_depth_kernel, dim3(static_cast<unsigned>(ggml_nrows(node))),
           block_of(node->ne[0]), arguments);
}

}  // namespace

extern const CudaOp kDepthToSpaceCuda{&depth_to_space_cpu, &supports_depth_to_space, &enqueue_depth_to_space};
extern const CudaOp kSpaceToDepthCuda{&space_to_depth_cpu, &supports_space_to_depth, &enqueue_space_to_depth};

}  // namespace ltx
