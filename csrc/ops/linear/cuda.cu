#include <algorithm>

#include "kernels/cuda/cublas.h"
#include "kernels/cuda/cublas_lt.h"
#include "kernels/cuda/scratch.h"
#include "ops/linear/epilogue.cuh"

namespace ltx {

namespace {

using namespace cuda;

// Sums that wait for their epilogue: few enough to be still in the second-level cache of large devices (50 MB on an
// H100), and no burden on the memory of small ones.
constexpr int64_t kSumBytes = 32 << 20;

struct Epilogue {
    const float * sums;  // [width, rows]
    RowEpilogues epilogues;
    void * out;
    int64_t out_stride;  // bytes
    int64_t rows;
    int width;
};

template <typename Out, int kThreads, int kPack>
__global__ void epilogue_kernel(Epilogue a) {
    const int64_t token = row_of_threads<kThreads>();
    if (token >= a.rows) {
        return;
    }
    const float * sums = a.sums + token * a.width;
    const RowEpilogue epilogue = a.epilogues.at(token);
    Out * out = row_at(static_cast<Out *>(a.out), a.out_stride, token);
    for (int i = threadIdx.x * kPack; i < a.width; i += kThreads * kPack) {
        Floats<kPack> values = load<kPack>(sums + i);
        epilogue.finish(values, i);
        store<kPack>(out + i, values);
    }
}

struct Round {
    FloatRows x;
    __nv_bfloat16 * out;
    int64_t out_stride;  // bytes
    int64_t rows;
    int width;
};

template <int kThreads, int kPack>
__global__ void round_kernel(Round a) {
    const int64_t row = row_of_threads<kThreads>();
    if (row >= a.rows) {
        return;
    }
    const float * x = a.x.at(row);
    __nv_bfloat16 * out = row_at(a.out, a.out_stride, row);
    for (int i = threadIdx.x * kPack; i < a.width; i += kThreads * kPack) {
        store<kPack>(out + i, load<kPack>(x + i));
    }
}

void enqueue_rounding(const CudaCall & call, const Round & arguments, bool packed) {
    with_row_shape(arguments.width, packed, [&]<int kThreads, int kPack>() {
        launch_rows<kThreads>("round_rows", call, &round_kernel<kThreads, kPack>, arguments.rows, arguments);
    });
}

// Q8_0: blocks of 32 weights in 8 bits behind a scale in binary16, 34 bytes that start at any even address.
constexpr int kQ8Weights = 32;
constexpr int kQ8Bytes = 34;

struct DecodeQ8 {
    const unsigned char * blocks;
    __nv_bfloat16 * out;
    int64_t groups;  // of eight weights, one a thread: 16 bytes of the result
};

__global__ void decode_q8_kernel(DecodeQ8 a) {
    constexpr int kGroup = 8;
    constexpr int kGroups = kQ8Weights / kGroup;
    const int64_t group = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (group >= a.groups) {
        return;
    }
    const unsigned char * block = a.blocks + group / kGroups * kQ8Bytes;
    const float scale = __half2float(*reinterpret_cast<const __half *>(block));
    const auto * pairs = reinterpret_cast<const uint16_t *>(block) + 1 + group % kGroups * kGroup / 2;
    Floats<kGroup> weights;
#pragma unroll
    for (int i = 0; i < kGroup / 2; ++i) {
        const unsigned pair = pairs[i];
        weights.v[2 * i] = scale * static_cast<float>(static_cast<signed char>(pair & 0xff));
        weights.v[2 * i + 1] = scale * static_cast<float>(static_cast<signed char>(pair >> 8));
    }
    store<kGroup>(a.out + group * kGroup, weights);
}

// `weight` as BF16. ggml's kernels write two bytes at a time, which takes the type that models come in twice as long.
void decode(const CudaCall & call, const ggml_tensor * weight, __nv_bfloat16 * to) {
    if (weight->type != GGML_TYPE_Q8_0) {
        decode_bf16(call, weight, to);
        return;
    }
    const DecodeQ8 arguments{data_of<const unsigned char>(weight), to, ggml_nelements(weight) / 8};
    launch("linear", call, &decode_q8_kernel, dim3(static_cast<unsigned>(ceil_div(arguments.groups, kBlockThreads))),
           dim3(kBlockThreads), arguments);
}

bool supports_linear(const ggml_tensor * node) {
    const LinearSources s = linear_sources(node);
    return (s.weight->type == GGML_TYPE_BF16 || can_decode(s.weight->type)) && ggml_is_contiguous(s.weight) &&
           have_rows(GGML_TYPE_BF16, {s.x}) && have_rows(GGML_TYPE_F32, {s.bias, s.residual, s.gate}) &&
           have_rows(GGML_TYPE_I32, {s.gate_rows}) && (node->type == GGML_TYPE_F32 || node->type == GGML_TYPE_BF16);
}

// Whether a node's product can end with its epilogue; residuals keep a pass of their own. Results in BF16 are here
// without one too: cuBLAS alone may add up rounded parts of a sum.
bool can_fuse(const ggml_tensor * node) {
    const LinearSources s = linear_sources(node);
    const bool gelu = constants_of<LinearConstants>(node).gelu != 0;
    return !s.residual && !s.gate && (s.bias || gelu || node->type == GGML_TYPE_BF16);
}

// What a node takes from the pool.
struct LinearScratch {
    size_t decoded_bytes;  // the weight as BF16
    // A fused product:
    size_t bias_bytes;  // the bias as BF16
    size_t workspace_bytes;
    // The other way:
    int64_t sum_rows;  // results that wait for their epilogue
    size_t sum_bytes;
};

LinearScratch scratch_of(const ggml_tensor * node) {
    const LinearSources s = linear_sources(node);
    const bool is_decoded = s.weight->type != GGML_TYPE_BF16;
    const bool is_fused = can_fuse(node);
    const bool has_epilogue = s.bias || s.residual || s.gate || constants_of<LinearConstants>(node).gelu;
    const int64_t row_bytes = s.weight->ne[1] * static_cast<int64_t>(sizeof(float));
    const int64_t rows = has_epilogue ? std::clamp<int64_t>(kSumBytes / row_bytes, 1, s.x->ne[1]) : 0;
    const bool rounds_bias = is_fused && s.bias && node->type == GGML_TYPE_BF16;
    return {.decoded_bytes = is_decoded ? ggml_nelements(s.weight) * sizeof(__nv_bfloat16) : 0,
            .bias_bytes = rounds_bias ? s.weight->ne[1] * sizeof(__nv_bfloat16) : 0,
            .workspace_bytes = is_fused ? kMostWorkspaceBytes + kWorkspaceAlignment : 0,
            .sum_rows = rows,
            .sum_bytes = static_cast<size_t>(rows * row_bytes)};
}

// Of the dearer way: which one a device takes is known when it runs.
size_t linear_scratch_bytes(const ggml_tensor * node) {
    const LinearScratch scratch = scratch_of(node);
    return scratch.decoded_bytes + std::max(scratch.bias_bytes + scratch.workspace_bytes, scratch.sum_bytes);
}

// The whole product of a node, straight into its result.
Product product_of(const ggml_tensor * node, const void * weight) {
    const LinearSources s = linear_sources(node);
    return {.weight = weight,
            .x = s.x->data,
            .x_stride = static_cast<int64_t>(s.x->nb[1] / sizeof(__nv_bfloat16)),
            .in = s.weight->ne[0],
            .out = s.weight->ne[1],
            .rows = s.x->ne[1],
            .result = node->data,
            .result_type = node->type,
            .result_stride = static_cast<int64_t>(node->nb[1] / ggml_type_size(node->type))};
}

// The product with its epilogue at once; false where it has to go the other way.
bool enqueue_fused(const CudaCall & call, const ggml_tensor * node, const void * weight) {
    if (!takes_lt || !can_fuse(node)) {
        return false;
    }
    const ggml_tensor * bias = linear_sources(node).bias;
    const LinearScratch scratch = scratch_of(node);
    const Scratch rounded(call, scratch.bias_bytes);
    const bool rounds_bias = scratch.bias_bytes > 0;
    const FusedProduct fused{.product = product_of(node, weight),
                             .bias = rounds_bias ? rounded.as<void>() : (bias ? bias->data : nullptr),
                             .gelu = constants_of<LinearConstants>(node).gelu != 0};
    const std::optional<FusedPlan> plan = plan_fused(call, fused);
    if (!plan) {
        return false;
    }
    const Scratch workspace(call, plan->workspace_bytes + kWorkspaceAlignment);
    if (rounds_bias) {
        enqueue_rounding(call, {float_rows(bias), rounded.as<__nv_bfloat16>(), 0, 1, static_cast<int>(bias->ne[0])},
                         packs({bias}));
    }
    const uintptr_t begin = reinterpret_cast<uintptr_t>(workspace.as<void>()) + kWorkspaceAlignment - 1;
    return multiply_fused(call, fused, *plan,
                          reinterpret_cast<void *>(begin / kWorkspaceAlignment * kWorkspaceAlignment));
}

// The product as F32 sums, some rows at a time, and a pass over them.
void enqueue_in_passes(const CudaCall & call, ggml_tensor * node, const void * weight, const LinearScratch & scratch) {
    const LinearSources s = linear_sources(node);
    const int64_t out = s.weight->ne[1];
    const int64_t tokens = s.x->ne[1];
    const auto out_stride = static_cast<int64_t>(node->nb[1]);
    const Scratch sums(call, scratch.sum_bytes);
    for (int64_t first = 0; first < tokens; first += scratch.sum_rows) {
        const int64_t rows = std::min(scratch.sum_rows, tokens - first);
        Product product = product_of(node, weight);
        product.result = sums.as<void>();
        product.result_type = GGML_TYPE_F32;
        product.result_stride = out;
        product.x = row_at(product.x, static_cast<int64_t>(s.x->nb[1]), first);
        product.rows = rows;
        multiply_bf16(call, product);
        const Epilogue arguments{
            .sums = sums.as<float>(),
            .epilogues = row_epilogues(s, constants_of<LinearConstants>(node), first),
            .out = data_of<char>(node) + first * out_stride,
            .out_stride = out_stride,
            .rows = rows,
            .width = static_cast<int>(out),
        };
        const bool packed = out % 4 == 0 && packs({s.bias, s.residual, s.gate, node});
        with_type(node->type, [&]<typename Out>() {
            with_row_shape(out, packed, [&]<int kThreads, int kPack>() {
                launch_rows<kThreads>("linear", call, &epilogue_kernel<Out, kThreads, kPack>, rows, arguments);
            });
        });
    }
}

void enqueue_linear(const CudaCall & call, ggml_tensor * node) {
    const LinearSources s = linear_sources(node);
    const LinearScratch scratch = scratch_of(node);
    const Scratch decoded(call, scratch.decoded_bytes);
    const void * weight = s.weight->data;
    if (scratch.decoded_bytes > 0) {
        decode(call, s.weight, decoded.as<__nv_bfloat16>());
        weight = decoded.as<void>();
    }
    if (enqueue_fused(call, node, weight)) {
        return;
    }
    if (scratch.sum_rows > 0) {
        enqueue_in_passes(call, node, weight, scratch);
    } else {
        multiply_bf16(call, product_of(node, weight));
    }
}

bool supports_round(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0]}) && node->type == GGML_TYPE_BF16 &&
           node->nb[0] == sizeof(__nv_bfloat16) && node->ne[0] >= node->src[0]->ne[0];
}

void enqueue_round(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    enqueue_rounding(call,
                     {float_rows(x), data_of<__nv_bfloat16>(node), static_cast<int64_t>(node->nb[1]), x->ne[1],
                      static_cast<int>(x->ne[0])},
                     packs({x, node}));
}

}  // namespace

extern const CudaOp kLinearCuda{&linear_cpu, &supports_linear, &enqueue_linear, /*needs_tensor_cores=*/false,
                                &linear_scratch_bytes};
extern const CudaOp kRoundRowsCuda{&round_rows_cpu, &supports_round, &enqueue_round};

}  // namespace ltx
