#include <algorithm>

#include "ops/cuda/cublas.h"
#include "ops/cuda/kernel.cuh"
#include "ops/cuda/scratch.h"
#include "ops/linear/linear.h"

namespace ltx {

namespace {

using namespace cuda;

// Sums that wait for their epilogue: few enough to be still in the second-level cache of large devices, and no burden
// on the memory of small ones.
constexpr int64_t kSumBytes = 64 << 20;

struct Epilogue {
    const float * sums;         // [width, rows]
    const float * bias;         // or null
    const float * residual;     // or null
    const float * gate;         // or null
    const int32_t * gate_rows;  // of the first token on, or null
    void * out;
    int64_t residual_stride, gate_stride, out_stride;  // bytes
    int64_t rows, distinct;
    int width;
    bool gelu;
};

// 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u)), which keeps its relative precision for negative u.
__device__ float gelu(float y) {
    constexpr float kMinusTwoSqrt2OverPi = -1.5957691216057308f;
    constexpr float kCubic = 0.044715f;
    return y / (1.0f + expf(kMinusTwoSqrt2OverPi * (y + kCubic * (y * y * y))));
}

template <typename Out, int kThreads, int kPack>
__global__ void epilogue_kernel(Epilogue a) {
    const int64_t token = row_of_threads<kThreads>();
    if (token >= a.rows) {
        return;
    }
    const float * sums = a.sums + token * a.width;
    const float * residual = a.residual ? row_at(a.residual, a.residual_stride, token) : nullptr;
    const int64_t row = a.gate_rows ? a.gate_rows[token] : 0;
    const bool known = row >= 0 && row < a.distinct;
    const float * gate = a.gate ? row_at(a.gate, a.gate_stride, known ? row : 0) : nullptr;
    Out * out = row_at(static_cast<Out *>(a.out), a.out_stride, token);
    for (int i = threadIdx.x * kPack; i < a.width; i += kThreads * kPack) {
        Floats<kPack> values = load<kPack>(sums + i);
        if (a.bias) {
            const Floats<kPack> biases = load<kPack>(a.bias + i);
#pragma unroll
            for (int j = 0; j < kPack; ++j) {
                values.v[j] += biases.v[j];
            }
        }
        if (a.gelu) {
#pragma unroll
            for (int j = 0; j < kPack; ++j) {
                values.v[j] = gelu(values.v[j]);
            }
        }
        if (gate) {
            const Floats<kPack> gates = load<kPack>(gate + i);
#pragma unroll
            for (int j = 0; j < kPack; ++j) {
                values.v[j] = known ? values.v[j] * gates.v[j] : nanf("");
            }
        }
        if (residual) {
            const Floats<kPack> added = load<kPack>(residual + i);
#pragma unroll
            for (int j = 0; j < kPack; ++j) {
                values.v[j] = added.v[j] + values.v[j];
            }
        }
        store<kPack>(out + i, values);
    }
}

struct Round {
    const float * x;
    __nv_bfloat16 * out;
    int64_t x_stride, out_stride;  // bytes
    int64_t rows;
    int width;
};

template <int kThreads, int kPack>
__global__ void round_kernel(Round a) {
    const int64_t row = row_of_threads<kThreads>();
    if (row >= a.rows) {
        return;
    }
    const float * x = row_at(a.x, a.x_stride, row);
    __nv_bfloat16 * out = row_at(a.out, a.out_stride, row);
    for (int i = threadIdx.x * kPack; i < a.width; i += kThreads * kPack) {
        store<kPack>(out + i, load<kPack>(x + i));
    }
}

// The sources of a node by what they are.
struct Sources {
    const ggml_tensor * weight;
    const ggml_tensor * x;
    const ggml_tensor * bias = nullptr;
    const ggml_tensor * residual = nullptr;
    const ggml_tensor * gate = nullptr;
    const ggml_tensor * rows = nullptr;
};

Sources sources_of(const ggml_tensor * node) {
    const auto constants = constants_of<LinearConstants>(node);
    Sources sources{.weight = node->src[0], .x = node->src[1]};
    int next = 2;
    const auto take = [&](int32_t present) { return present ? node->src[next++] : nullptr; };
    sources.bias = take(constants.has_bias);
    sources.residual = take(constants.has_residual);
    sources.gate = take(constants.has_gate);
    sources.rows = take(constants.has_rows);
    return sources;
}

bool supports_linear(const ggml_tensor * node) {
    const Sources s = sources_of(node);
    const auto optional = [](const ggml_tensor * tensor, ggml_type type) { return !tensor || has_rows(tensor, type); };
    return (s.weight->type == GGML_TYPE_BF16 || can_decode(s.weight->type)) && ggml_is_contiguous(s.weight) &&
           has_rows(s.x, GGML_TYPE_BF16) && optional(s.bias, GGML_TYPE_F32) && optional(s.residual, GGML_TYPE_F32) &&
           optional(s.gate, GGML_TYPE_F32) && optional(s.rows, GGML_TYPE_I32) &&
           (node->type == GGML_TYPE_F32 || node->type == GGML_TYPE_BF16);
}

void enqueue_linear(const CudaCall & call, ggml_tensor * node) {
    const auto constants = constants_of<LinearConstants>(node);
    const Sources s = sources_of(node);
    const int64_t in = s.weight->ne[0];
    const int64_t out = s.weight->ne[1];
    const int64_t tokens = s.x->ne[1];
    const bool is_decoded = s.weight->type != GGML_TYPE_BF16;
    const Scratch decoded(call, is_decoded ? static_cast<size_t>(in * out) * sizeof(__nv_bfloat16) : 0);
    if (is_decoded) {
        decode_bf16(call, s.weight, decoded.as<void>());
    }
    const auto out_stride = static_cast<int64_t>(node->nb[1]);
    const auto product = [&](int64_t first, int64_t rows, void * sums, ggml_type type, int64_t stride) {
        multiply_bf16(call, {.weight = is_decoded ? decoded.as<void>() : s.weight->data,
                             .x = data_of<const char>(s.x) + first * static_cast<int64_t>(s.x->nb[1]),
                             .x_stride = static_cast<int64_t>(s.x->nb[1] / sizeof(__nv_bfloat16)),
                             .in = in,
                             .out = out,
                             .rows = rows,
                             .result = sums,
                             .result_type = type,
                             .result_stride = stride});
    };
    if (!s.bias && !s.residual && !s.gate && !constants.gelu) {
        product(0, tokens, node->data, node->type, out_stride / static_cast<int64_t>(ggml_type_size(node->type)));
        return;
    }
    const int64_t step = std::clamp<int64_t>(kSumBytes / (out * static_cast<int64_t>(sizeof(float))), 1, tokens);
    const Scratch sums(call, static_cast<size_t>(step * out) * sizeof(float));
    for (int64_t first = 0; first < tokens; first += step) {
        const int64_t rows = std::min(step, tokens - first);
        product(first, rows, sums.as<void>(), GGML_TYPE_F32, out);
        const auto from = [&](const ggml_tensor * tensor) {  // the part of a per-token tensor
            return tensor ? reinterpret_cast<const float *>(data_of<const char>(tensor) +
                                                            first * static_cast<int64_t>(tensor->nb[1]))
                          : nullptr;
        };
        const Epilogue arguments{
            .sums = sums.as<float>(),
            .bias = s.bias ? data_of<const float>(s.bias) : nullptr,
            .residual = from(s.residual),
            .gate = s.gate ? data_of<const float>(s.gate) : nullptr,
            .gate_rows = s.rows ? data_of<const int32_t>(s.rows) + first : nullptr,
            .out = data_of<char>(node) + first * out_stride,
            .residual_stride = s.residual ? static_cast<int64_t>(s.residual->nb[1]) : 0,
            .gate_stride = s.gate ? static_cast<int64_t>(s.gate->nb[1]) : 0,
            .out_stride = out_stride,
            .rows = rows,
            .distinct = s.gate ? s.gate->ne[1] : 1,
            .width = static_cast<int>(out),
            .gelu = constants.gelu != 0,
        };
        const bool packed = out % 4 == 0 && (!s.bias || packs(s.bias, 4)) && (!s.residual || packs(s.residual, 4)) &&
                            (!s.gate || packs(s.gate, 4)) && packs(node, 4);
        with_type(node->type, [&]<typename Out>() {
            with_row_shape(out, packed, [&]<int kThreads, int kPack>() {
                launch_rows<kThreads>("linear", call, &epilogue_kernel<Out, kThreads, kPack>, rows, arguments);
            });
        });
    }
}

bool supports_round(const ggml_tensor * node) {
    return has_rows(node->src[0], GGML_TYPE_F32) && node->type == GGML_TYPE_BF16 &&
           node->nb[0] == sizeof(__nv_bfloat16) && node->ne[0] >= node->src[0]->ne[0];
}

void enqueue_round(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const Round arguments{data_of<const float>(x),
                          data_of<__nv_bfloat16>(node),
                          static_cast<int64_t>(x->nb[1]),
                          static_cast<int64_t>(node->nb[1]),
                          x->ne[1],
                          static_cast<int>(x->ne[0])};
    with_row_shape(x->ne[0], packs(x, 4) && packs(node, 4), [&]<int kThreads, int kPack>() {
        launch_rows<kThreads>("round_rows", call, &round_kernel<kThreads, kPack>, x->ne[1], arguments);
    });
}

}  // namespace

extern const CudaOp kLinearCuda{&linear_cpu, &supports_linear, &enqueue_linear};
extern const CudaOp kRoundRowsCuda{&round_rows_cpu, &supports_round, &enqueue_round};

}  // namespace ltx
