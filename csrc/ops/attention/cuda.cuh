// What the CUDA kernels of attention share: their argument, the softmax of a tile of logits, and the store of a result.
#pragma once

#include "kernels/cuda/tensor_core.cuh"

namespace ltx::cuda {

inline constexpr float kLog2E = 1.4426950408889634f;

// Rows of one head; strides in elements.
struct Heads {
    const __nv_bfloat16 * data;
    int64_t head_stride, row_stride;
};

struct AttentionArguments {
    Heads q, k, v;
    const __half * mask;  // added to the logits, or null
    int64_t mask_stride;
    const float * gate;  // logits of a gate per head and query, or null
    int64_t gate_stride;
    __nv_bfloat16 * out;  // [head_dim, heads, queries]
    int64_t out_stride;
    int64_t queries, keys;
    int dim;           // of a head
    int heads, group;  // query heads, and how many of them share a head of k and v
    float scale;       // of base-two logits
};

// Whether a kernel for heads of `dim` elements may leave out masks and what fills up smaller heads.
inline bool is_plain(const AttentionArguments & a, int dim) {
    return !a.mask && a.dim == dim && a.scale > 0.0f;
}

// What a thread keeps of the two rows of a 16-row tile that it shares: at lane / 4 and 8 below.
struct RowPair {
    float maximum[2] = {-INFINITY, -INFINITY};
    float sum[2] = {};  // of this thread's columns
};

// Turns logits into exp2(scale * (logit - maximum so far)). `correction` gets the factors of what was summed under a
// smaller maximum. A logit that is not a number is no maximum, and stays one.
template <int kKeyTiles>
__device__ void exponentiate(float (&logits)[kKeyTiles][4], float scale, RowPair & rows, float (&correction)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float maximum = rows.maximum[half];
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n) {
            maximum = fmaxf(maximum, fmaxf(logits[n][2 * half], logits[n][2 * half + 1]));
        }
        maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 1));
        maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 2));
        // A row whose keys are all masked so far: any finite number does.
        const float base = maximum == -INFINITY ? 0.0f : -maximum * scale;
        correction[half] = exp2_short(fmaf(rows.maximum[half], scale, base));
        float sum = 0.0f;
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; ++i) {
                logits[n][i] = exp2_short(fmaf(logits[n][i], scale, base));
                sum += logits[n][i];
            }
        }
        rows.maximum[half] = maximum;
        rows.sum[half] = rows.sum[half] * correction[half] + sum;
    }
}

// Brings sums under the maximum so far; maxima soon stop growing.
template <int kTiles>
__device__ void correct(float (&sums)[kTiles][4], const float (&correction)[2]) {
    if (__any_sync(0xffffffffu, correction[0] != 1.0f || correction[1] != 1.0f)) {
#pragma unroll
        for (int n = 0; n < kTiles; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                sums[n][i] *= correction[i / 2];
            }
        }
    }
}

// Weights of 16 keys, the two tiles of sums from `first` on, as the left operand of the product with values wants them.
template <int kKeyTiles>
__device__ void pack_weights(const float (&weights)[kKeyTiles][4], int first, unsigned (&a)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float * pair = &weights[first + i / 2][i % 2 * 2];
        a[i] = pack_bf16(pair[0], pair[1]);
    }
}

// Keys from `keys` of the tile on get none of the weight.
template <int kKeyTiles>
__device__ void cut_logits(int64_t keys, int lane, float (&logits)[kKeyTiles][4]) {
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (n * 8 + lane % 4 * 2 + i % 2 >= keys) {
                logits[n][i] = -INFINITY;
            }
        }
    }
}

// Stores the rows of a 16-row tile that begins at `first_query`, divided by their sums and times their gates.
template <int kDim, bool kPlain>
__device__ void store_rows(const AttentionArguments & a, int64_t first_query, int head, int lane,
                           const float (&sums)[kDim / 8][4], const RowPair & rows) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float sum = rows.sum[half];
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        float factor = sum == 0.0f ? 0.0f : 1.0f / sum;  // no key at all
        const int64_t query = first_query + half * 8 + lane / 4;
        if (query < a.queries) {
            if (a.gate) {
                // The factor 2 makes a zero-initialised gate neutral.
                factor *= 2.0f / (1.0f + expf(-a.gate[query * a.gate_stride + head]));
            }
            __nv_bfloat16 * out = a.out + query * a.out_stride + head * a.dim + lane % 4 * 2;
#pragma unroll
            for (int n = 0; n < kDim / 8; ++n) {
                if (!kPlain && n * 8 >= a.dim) {
                    break;
                }
                const Floats<2> pair{sums[n][2 * half] * factor, sums[n][2 * half + 1] * factor};
                store<2>(out + n * 8, pair);
            }
        }
    }
}

}  // namespace ltx::cuda
