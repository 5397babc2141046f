#include "kernels/cuda/kernel.cuh"
#include "ops/grid_rope/grid_rope.h"

namespace ltx {

namespace {

using namespace cuda;

constexpr int kWarps = 8;
// Cells of a block, which share one table of frequencies.
constexpr int kCells = 32;
constexpr int kMaxHeadDim = 256;

struct Arguments {
    float * qkv;  // without gaps
    const float * q_weight;
    const float * k_weight;
    int64_t cells;
    int width, height;  // of the grid
    int channels;
    int head_dim;
    int time_pairs, height_pairs;  // of a head, that time and height rotate; the rest are the width's
    float scale;
    float eps;
};

// The axis that a pair rotates by, and the pair's number among those of the axis.
struct PairPlace {
    int axis;
    int pair;
    int pairs;
};

__device__ PairPlace place_of(const Arguments & a, int pair) {
    if (pair < a.time_pairs) {
        return {0, pair, a.time_pairs};
    }
    pair -= a.time_pairs;
    if (pair < a.height_pairs) {
        return {1, pair, a.height_pairs};
    }
    return {2, pair - a.height_pairs, a.head_dim / 2 - a.time_pairs - a.height_pairs};
}

__global__ void norm_grid_rope_kernel(Arguments a) {
    __shared__ float frequencies[kMaxHeadDim / 2];
    const int pairs = a.head_dim / 2;
    for (int pair = threadIdx.y * kWarp + threadIdx.x; pair < pairs; pair += kWarps * kWarp) {
        const PairPlace place = place_of(a, pair);
        frequencies[pair] = static_cast<float>(pow(10000.0, -static_cast<double>(place.pair) / place.pairs));
    }
    __syncthreads();
    const int heads = 2 * a.channels / a.head_dim;  // of queries, then of keys
    for (int item = threadIdx.y; item < kCells * heads; item += kWarps) {
        const int64_t cell = static_cast<int64_t>(blockIdx.x) * kCells + item / heads;
        if (cell >= a.cells) {
            return;
        }
        const int first = item % heads * a.head_dim;
        const bool is_query = first < a.channels;
        const float * weight = is_query ? a.q_weight : a.k_weight;
        float * x = a.qkv + cell * 3 * a.channels + first;
        const float factor = inverse_rms<kWarp, 1>(x, a.head_dim, a.eps) * (is_query ? a.scale : 1.0f);
        const int64_t line = cell / a.width;
        const int64_t index[3] = {line / a.height, line % a.height, cell % a.width};
        for (int pair = threadIdx.x; pair < pairs; pair += kWarp) {
            const float angle = static_cast<float>(index[place_of(a, pair).axis]) * frequencies[pair];
            const float even = x[2 * pair] * factor * weight[2 * pair];
            const float odd = x[2 * pair + 1] * factor * weight[2 * pair + 1];
            const float c = cosf(angle);
            const float s = sinf(angle);
            x[2 * pair] = even * c - odd * s;
            x[2 * pair + 1] = even * s + odd * c;
        }
    }
}

bool supports(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0], node->src[1], node->src[2]}) && ggml_is_contiguous(node->src[0]) &&
           node->src[1]->ne[0] <= kMaxHeadDim;
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * qkv = node->src[0];
    const auto constants = constants_of<NormGridRopeConstants>(node);
    const int64_t head_dim = node->src[1]->ne[0];
    const auto parts = grid_rope_parts(head_dim);
    const int64_t cells = ggml_nrows(qkv);
    const Arguments arguments{
        data_of<float>(qkv),
        data_of<const float>(node->src[1]),
        data_of<const float>(node->src[2]),
        cells,
        static_cast<int>(qkv->ne[1]),
        static_cast<int>(qkv->ne[2]),
        static_cast<int>(qkv->ne[0] / 3),
        static_cast<int>(head_dim),
        static_cast<int>(parts[0] / 2),
        static_cast<int>(parts[1] / 2),
        constants.scale,
        constants.eps,
    };
    launch("norm_grid_rope", call, &norm_grid_rope_kernel, dim3(static_cast<unsigned>(ceil_div(cells, kCells))),
           dim3(kWarp, kWarps), arguments);
}

}  // namespace

extern const CudaOp kNormGridRopeCuda{&norm_grid_rope_cpu, &supports, &enqueue};

}  // namespace ltx
