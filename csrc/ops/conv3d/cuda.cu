#include "kernels/cuda/tensor_core.cuh"
#include "ops/conv3d/conv3d.h"
#include "ops/pad/frame_pieces.cuh"

namespace ltx {

namespace {

using namespace cuda;

struct Finish {
    const float * sums;
    const float * bias;
    float * out;
    SplitFrames residual;
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
    const float * residual = a.residual.at<float>(x, y, t);
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

// The convolution as one product on tensor cores, its left operand read where the padded buffer lies: no column matrix
// is made, so the memory is that of the operands.
constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarp;
constexpr int kPositions = 128;  // of a block
constexpr int kDepth = 64;       // input channels of one tap at a time
constexpr int kStages = 3;
// Warps lie 2 x 2 over positions and output channels: the squarer what a warp computes, the less it reads of the
// operands in shared memory, which binds before the matrix instructions do.
constexpr int kWarpRows = 2;
constexpr int kRowTiles = kPositions / kWarpRows / 16;

struct Tapped {
    const __nv_bfloat16 * padded;  // [in, padded_width, padded_height, frames]
    const __nv_bfloat16 * weight;  // [in, out, taps]
    const float * bias;
    float * out;
    SplitFrames residual;
    int64_t width, height, positions;
    int64_t padded_width, padded_height;
    int in_channels, out_channels, taps;
    int channel_tiles;  // blocks of output channels
};

template <int kChannels>
constexpr size_t shared_bytes() {
    return sizeof(__nv_bfloat16) * kStages * kDepth * (kPositions + kChannels);
}

__device__ inline int64_t padded_row(const Tapped & a, int64_t position) {
    const int64_t line = position / a.width;
    return (line / a.height * a.padded_height + line % a.height) * a.padded_width + position % a.width;
}

// A block computes kPositions positions and kChannels output channels.
template <int kChannels>
__global__ void __launch_bounds__(kThreads) conv3d_kernel(Tapped a) {
    constexpr int kColumnTiles = kChannels / 2 / 8;
    constexpr int kRowsPerPass = kThreads / (kDepth / kChunk);
    auto * inputs = reinterpret_cast<__nv_bfloat16 *>(dynamic_shared());
    __nv_bfloat16 * weights = inputs + kStages * kPositions * kDepth;
    const int64_t first_position = static_cast<int64_t>(blockIdx.x / a.channel_tiles) * kPositions;
    const int first_channel = static_cast<int>(blockIdx.x % a.channel_tiles) * kChannels;
    const int lane = threadIdx.x % kWarp;
    const int warp = threadIdx.x / kWarp;

    // Each thread copies one chunk of some rows of both operands; where its rows lie does not change with the tap.
    const int copy_row = threadIdx.x / (kDepth / kChunk);
    const int copy_chunk_index = threadIdx.x % (kDepth / kChunk);
    int64_t row_at_tap_0[kPositions / kRowsPerPass];
#pragma unroll
    for (int i = 0; i < kPositions / kRowsPerPass; ++i) {
        const int64_t position = first_position + copy_row + i * kRowsPerPass;
        row_at_tap_0[i] = padded_row(a, position < a.positions ? position : 0);
    }
    const int depth_steps = (a.in_channels + kDepth - 1) / kDepth;
    const int steps = a.taps * depth_steps;
    const auto copy_step = [&](int step) {
        const int tap = step / depth_steps;
        const int channel = step % depth_steps * kDepth + copy_chunk_index * kChunk;
        const bool valid = channel < a.in_channels;
        const int64_t shift = (tap / 9 * a.padded_height + tap / 3 % 3) * a.padded_width + tap % 3;
        __nv_bfloat16 * input = inputs + step % kStages * kPositions * kDepth;
        __nv_bfloat16 * weight = weights + step % kStages * kChannels * kDepth;
#pragma unroll
        for (int i = 0; i < kPositions / kRowsPerPass; ++i) {
            const int64_t row = row_at_tap_0[i] + shift;
            copy_chunk(input + tile_at<kDepth>(copy_row + i * kRowsPerPass, copy_chunk_index),
                       a.padded + row * a.in_channels + (valid ? channel : 0), valid);
        }
#pragma unroll
        for (int i = 0; i < kChannels / kRowsPerPass; ++i) {
            const int o = first_channel + copy_row + i * kRowsPerPass;
            const bool inside = valid && o < a.out_channels;
            const int64_t row = static_cast<int64_t>(tap) * a.out_channels + (inside ? o : 0);
            copy_chunk(weight + tile_at<kDepth>(copy_row + i * kRowsPerPass, copy_chunk_index),
                       a.weight + row * a.in_channels + (inside ? channel : 0), inside);
        }
    };

    float sums[kRowTiles][kColumnTiles][4] = {};
    const int warp_row = warp % kWarpRows * kRowTiles * 16;
    const int warp_column = warp / kWarpRows * kColumnTiles * 8;
    const int left_place = tile_at<kDepth>(warp_row + lane % 16, lane / 16);
    const int right_place = tile_at<kDepth>(warp_column + lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < steps) {
            copy_step(step);
        }
        commit_copies();
    }
    for (int step = 0; step < steps; ++step) {
        wait_for_copies<kStages - 2>();
        __syncthreads();
        // The stage that is filled now was read in the step before.
        if (step + kStages - 1 < steps) {
            copy_step(step + kStages - 1);
        }
        commit_copies();
        const __nv_bfloat16 * input = inputs + step % kStages * kPositions * kDepth;
        const __nv_bfloat16 * weight = weights + step % kStages * kChannels * kDepth;
#pragma unroll
        for (int depth = 0; depth < kDepth / 16; ++depth) {
            unsigned left[kRowTiles][4];
#pragma unroll
            for (int m = 0; m < kRowTiles; ++m) {
                load_matrices(left[m], input + (left_place ^ depth * 2 * kChunk) + m * 16 * kDepth);
            }
#pragma unroll
            for (int n = 0; n < kColumnTiles; n += 2) {
                unsigned right[4];
                load_matrices(right, weight + (right_place ^ depth * 2 * kChunk) + n * 8 * kDepth);
#pragma unroll
                for (int m = 0; m < kRowTiles; ++m) {
                    multiply(sums[m][n], left[m], right[0], right[1]);
                    multiply(sums[m][n + 1], left[m], right[2], right[3]);
                }
            }
        }
    }

#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int64_t position = first_position + warp_row + m * 16 + half * 8 + lane / 4;
            if (position >= a.positions) {
                continue;
            }
            const int64_t line = position / a.width;
            const auto * residual = a.residual.at<float>(position % a.width, line % a.height, line / a.height);
            float * out = a.out + position * a.out_channels;
#pragma unroll
            for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    const int o = first_channel + warp_column + n * 8 + lane % 4 * 2 + i;
                    if (o < a.out_channels) {
                        const float biased = sums[m][n][2 * half + i] + a.bias[o];
                        out[o] = residual ? residual[o] + biased : biased;
                    }
                }
            }
        }
    }
}

bool supports_finish(const ggml_tensor * node) {
    const FramePieces residual = pieces_of(node, 2, constants_of<ConvFinishConstants>(node).residual);
    const auto is_plain = [](const ggml_tensor * t) { return t && t->type == GGML_TYPE_F32 && ggml_is_contiguous(t); };
    return is_plain(node->src[0]) && is_plain(node->src[1]) && is_plain(node) &&
           have_rows(GGML_TYPE_F32, {residual.earlier, residual.frames});
}

void enqueue_finish(const CudaCall & call, ggml_tensor * node) {
    const auto constants = constants_of<ConvFinishConstants>(node);
    const FramePieces residual = pieces_of(node, 2, constants.residual);
    const Finish arguments{
        data_of<const float>(node->src[0]),
        data_of<const float>(node->src[1]),
        data_of<float>(node),
        frames_of(residual),
        node->ne[1],
        node->ne[2],
        ggml_nrows(node),
        constants.padded_width,
        constants.padded_height,
        static_cast<int>(node->ne[0]),
    };
    const bool packed = packs({node->src[0], node->src[1], residual.earlier, residual.frames, node});
    with_row_shape(node->ne[0], packed, [&]<int kThreads, int kPack>() {
        launch_rows<kThreads>("conv3d_finish", call, &conv3d_finish_kernel<kThreads, kPack>, arguments.rows, arguments);
    });
}

bool supports_tapped(const ggml_tensor * node) {
    const ggml_tensor * weight = node->src[0];
    const ggml_tensor * padded = node->src[2];
    const FramePieces residual = pieces_of(node, 3, constants_of<TappedConvConstants>(node).residual);
    // Chunks of 8 channels are copied whole, and rows of the buffer are numbered through.
    return weight->type == GGML_TYPE_BF16 && padded->type == GGML_TYPE_BF16 && weight->ne[0] % kChunk == 0 &&
           ggml_is_contiguous(weight) && ggml_is_contiguous(padded) && padded->ne[0] == weight->ne[0] &&
           have_rows(GGML_TYPE_F32, {node->src[1], residual.earlier, residual.frames}) && node->type == GGML_TYPE_F32 &&
           ggml_is_contiguous(node);
}

template <int kChannels>
void start(const CudaCall & call, Tapped arguments) {
    arguments.channel_tiles = static_cast<int>(ceil_div(arguments.out_channels, kChannels));
    allow_shared("conv3d_tapped", &conv3d_kernel<kChannels>, shared_bytes<kChannels>());
    const int64_t blocks = ceil_div(arguments.positions, kPositions) * arguments.channel_tiles;
    launch("conv3d_tapped", call, &conv3d_kernel<kChannels>, dim3(static_cast<unsigned>(blocks)), dim3(kThreads),
           arguments, shared_bytes<kChannels>());
}

void enqueue_tapped(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * weight = node->src[0];
    const ggml_tensor * padded = node->src[2];
    const FramePieces residual = pieces_of(node, 3, constants_of<TappedConvConstants>(node).residual);
    expect_chunks("conv3d_tapped", {weight, padded});
    const Tapped arguments{
        data_of<const __nv_bfloat16>(padded),
        data_of<const __nv_bfloat16>(weight),
        data_of<const float>(node->src[1]),
        data_of<float>(node),
        frames_of(residual),
        node->ne[1],
        node->ne[2],
        ggml_nrows(node),
        padded->ne[1],
        padded->ne[2],
        static_cast<int>(weight->ne[0]),
        static_cast<int>(weight->ne[1]),
        static_cast<int>(weight->ne[2]),
        /*channel_tiles=*/1,
    };
    arguments.out_channels <= 64 ? start<64>(call, arguments) : start<128>(call, arguments);
}

}  // namespace

extern const CudaOp kConv3dFinishCuda{&conv3d_finish_cpu, &supports_finish, &enqueue_finish};
extern const CudaOp kConv3dTappedCuda{&conv3d_tapped_cpu, &supports_tapped, &enqueue_tapped,
                                      /*needs_tensor_cores=*/true};

}  // namespace ltx
