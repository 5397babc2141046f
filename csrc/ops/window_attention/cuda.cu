#include "kernels/cuda/kernel.cuh"
#include "ops/window_attention/window_attention.h"

namespace ltx {

namespace {

using namespace cuda;

// Queries of a block along time, height and width; two threads share a query, half of a head each.
constexpr int kTime = 2, kHeight = 4, kWidth = 8;
constexpr int kQueries = kTime * kHeight * kWidth;
constexpr int kThreads = 2 * kQueries;
// Keys that lie in shared memory at a time. A thread has their logits in registers.
constexpr int kKeys = 32;

__device__ inline int least(int a, int b) {
    return a < b ? a : b;
}

// One axis of the grid: which keys a query sees, as on the CPU.
struct Axis {
    int queries;
    int keys;
    int window;

    __device__ int start(int query) const {
        if (keys != queries) {
            return query;
        }
        const int start = query - window / 2;
        return start < 0 ? 0 : least(start, keys - window);
    }
    __device__ bool sees(int query, int key) const {
        return static_cast<unsigned>(key - start(query)) < static_cast<unsigned>(window);
    }
};

struct Arguments {
    float * qkv;  // without gaps
    Axis time, height, width;
    int margin;  // columns of keys before the first query's
    int channels;
    int head_dim;

    __device__ float * cell(int t, int h, int w) const {
        return qkv + ((static_cast<int64_t>(t) * height.keys + h) * width.keys + w) * 3 * channels;
    }
};

struct Place {
    int time, height, width;
};

// Keys of a box along the axes, from `first` on.
struct Box {
    Place first;
    int time, height, width;

    __device__ int keys() const { return time * height * width; }
    __device__ Place at(int key) const {
        return {first.time + key / width / height, first.height + key / width % height, first.width + key % width};
    }
};

// What all queries from `first` on see that lie in a block of `count`.
__device__ void extent(const Axis & axis, int first, int count, int & start, int & keys) {
    start = axis.start(first);
    keys = axis.start(least(first + count, axis.queries) - 1) + axis.window - start;
}

// kHalf: elements of half of the widest head; those past the end of a narrower one are zero.
template <int kHalf>
__global__ void window_attention_kernel(Arguments a) {
    __shared__ float keys[kKeys][2 * kHalf];
    __shared__ float values[kKeys][2 * kHalf];
    __shared__ Place places[kKeys];
    const int columns = (a.width.queries + kWidth - 1) / kWidth;
    const int rows = (a.height.queries + kHeight - 1) / kHeight;
    const Place tile{static_cast<int>(blockIdx.x / columns / rows) * kTime,
                     static_cast<int>(blockIdx.x / columns % rows) * kHeight,
                     static_cast<int>(blockIdx.x % columns) * kWidth};
    const int head = blockIdx.y * a.head_dim;
    // Threads past the grid's end repeat its last query and store nothing.
    const int number = threadIdx.x / 2;
    const int part = threadIdx.x % 2 * kHalf;
    const Place wanted{tile.time + number / (kHeight * kWidth), tile.height + number / kWidth % kHeight,
                       tile.width + number % kWidth};
    const Place query{least(wanted.time, a.time.queries - 1), least(wanted.height, a.height.queries - 1),
                      least(wanted.width, a.width.queries - 1)};
    float * own = a.cell(query.time, query.height, query.width + a.margin) + head + part;
    float q[kHalf];
    float result[kHalf];
#pragma unroll
    for (int d = 0; d < kHalf; ++d) {
        q[d] = part + d < a.head_dim ? own[d] : 0.0f;
        result[d] = 0.0f;
    }
    Box box{};
    extent(a.time, tile.time, kTime, box.first.time, box.time);
    extent(a.height, tile.height, kHeight, box.first.height, box.height);
    extent(a.width, tile.width, kWidth, box.first.width, box.width);
    float top = -INFINITY;
    float sum = 0.0f;
    for (int first = 0; first < box.keys(); first += kKeys) {
        __syncthreads();
        for (int i = threadIdx.x; i < kKeys * 2 * kHalf; i += kThreads) {
            const int key = i / (2 * kHalf);
            const int d = i % (2 * kHalf);
            const Place place = box.at(least(first + key, box.keys() - 1));
            const float * cell = a.cell(place.time, place.height, place.width) + head + d;
            keys[key][d] = d < a.head_dim ? cell[a.channels] : 0.0f;
            values[key][d] = d < a.head_dim ? cell[2 * a.channels] : 0.0f;
            if (d == 0) {
                places[key] = place;
            }
        }
        __syncthreads();
        float logits[kKeys];
        unsigned seen = 0;
        float highest = top;
#pragma unroll
        for (int key = 0; key < kKeys; ++key) {
            float product = 0.0f;
#pragma unroll
            for (int d = 0; d < kHalf; ++d) {
                product += q[d] * keys[key][part + d];
            }
            product += __shfl_xor_sync(0xffffffffu, product, 1);
            const Place place = places[key];
            if (first + key < box.keys() && a.time.sees(query.time, place.time) &&
                a.height.sees(query.height, place.height) && a.width.sees(query.width, place.width)) {
                seen |= 1u << key;
                highest = fmaxf(highest, product);
            }
            logits[key] = product;
        }
        if (seen == 0) {
            continue;
        }
        // Before any key is seen nothing was summed. What is not a number passes fmaxf and shows in the sum.
        const float factor = sum == 0.0f ? 0.0f : expf(top - highest);
        top = highest;
        sum *= factor;
#pragma unroll
        for (int d = 0; d < kHalf; ++d) {
            result[d] *= factor;
        }
#pragma unroll
        for (int key = 0; key < kKeys; ++key) {
            if (seen >> key & 1u) {
                const float weight = expf(logits[key] - top);
                sum += weight;
#pragma unroll
                for (int d = 0; d < kHalf; ++d) {
                    result[d] += weight * values[key][part + d];
                }
            }
        }
    }
    if (wanted.time != query.time || wanted.height != query.height || wanted.width != query.width) {
        return;
    }
#pragma unroll
    for (int d = 0; d < kHalf; ++d) {
        if (part + d < a.head_dim) {
            own[d] = result[d] / sum;
        }
    }
}

constexpr int kNarrow = 32;
constexpr int kWide = 64;

bool supports(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0]}) && ggml_is_contiguous(node->src[0]) &&
           constants_of<WindowAttentionConstants>(node).head_dim <= 2 * kWide;
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * qkv = node->src[0];
    const auto [window, head_dim, margin] = constants_of<WindowAttentionConstants>(node);
    const auto axis = [](int64_t queries, int64_t keys, int32_t size) {
        return Axis{static_cast<int>(queries), static_cast<int>(keys), size};
    };
    const Arguments arguments{
        data_of<float>(qkv),
        axis(qkv->ne[3], qkv->ne[3], window.time),
        axis(qkv->ne[2], qkv->ne[2], window.height),
        axis(qkv->ne[1] - 2 * margin, qkv->ne[1], window.width),
        margin,
        static_cast<int>(qkv->ne[0] / 3),
        head_dim,
    };
    const int64_t tiles = ceil_div(arguments.time.queries, kTime) * ceil_div(arguments.height.queries, kHeight) *
                          ceil_div(arguments.width.queries, kWidth);
    const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(arguments.channels / head_dim));
    const auto kernel = head_dim <= 2 * kNarrow ? &window_attention_kernel<kNarrow> : &window_attention_kernel<kWide>;
    launch("window_attention", call, kernel, grid, dim3(kThreads), arguments);
}

}  // namespace

extern const CudaOp kWindowAttentionCuda{&window_attention_cpu, &supports, &enqueue};

}  // namespace ltx
