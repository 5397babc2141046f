#include <algorithm>

#include "kernels/cuda/cublas.h"
#include "kernels/cuda/kernel.cuh"
#include "kernels/cuda/scratch.h"
#include "ops/linear/linear.h"

namespace ltx {

namespace {

using namespace cuda;

// Sums that wait for their epilogue: few enough to be still in the second-level cache of large devices, and no burden
// on the memory of small ones.
constexpr int64_t kSumBytes = 64 << 20;

struct Epilogue {
    const float * sums;        // [width, rows]
    const float * bias;        // or null
    FloatRows residual, gate;  // or none
    TokenRows gate_rows;
    void * out;
    int64_t out_stride;  // bytes
    int64_t rows;
    int width;
    bool gelu;
};

template <typename Out, int kThreads, int kPack>
__global__ void epilogue_kernel(Epilogue a) {
    const int64_t token = row_of_threads<kThreads>();
    if (token >= a.rows) {
        return;
    }
    const float * sums = a.sums + token * a.width;
    const float * residual = a.residual.first ? a.residual.at(token) : nullptr;
    const int64_t row = a.gate_rows.at(token);
    const bool known = row >= 0;
    const float * gate = a.gate.first ? a.gate.at(known ? row : 0) : nullptr;
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

bool supports_linear(const ggml_tensor * node) {
    const LinearSources s = linear_sources(node);
    return (s.weight->type == GGML_TYPE_BF16 || can_decode(s.weight->type)) && ggml_is_contiguous(s.weight) &&
           have_rows(GGML_TYPE_BF16, {s.x}) && have_rows(GGML_TYPE_F32, {s.bias, s.residual, s.gate}) &&
           have_rows(GGML_TYPE_I32, {s.gate_rows}) && (node->type == GGML_TYPE_F32 || node->type == GGML_TYPE_BF16);
}

void enqueue_linear(const CudaCall & call, ggml_tensor * node) {
    const auto constants = constants_of<LinearConstants>(node);
    const LinearSources s = linear_sources(node);
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
        FloatRows residual = float_rows(s.residual);
        if (residual.first) {
            residual.first = row_at(residual.first, residual.stride, first);
        }
        const Epilogue arguments{
            .sums = sums.as<float>(),
            .bias = s.bias ? data_of<const float>(s.bias) : nullptr,
            .residual = residual,
            .gate = float_rows(s.gate),
            .gate_rows = {s.gate_rows ? data_of<const int32_t>(s.gate_rows) + first : nullptr,
                          s.gate ? s.gate->ne[1] : 1},
            .out = data_of<char>(node) + first * out_stride,
            .out_stride = out_stride,
            .rows = rows,
            .width = static_cast<int>(out),
            .gelu = constants.gelu != 0,
        };
        const bool packed = out % 4 == 0 && packs({s.bias, s.residual, s.gate, node});
        with_type(node->type, [&]<typename Out>() {
            with_row_shape(out, packed, [&]<int kThreads, int kPack>() {
                launch_rows<kThreads>("linear", call, &epilogue_kernel<Out, kThreads, kPack>, rows, arguments);
            });
        });
    }
}

bool supports_round(const ggml_tensor * node) {
    return have_rows(GGML_TYPE_F32, {node->src[0]}) && node->type == GGML_TYPE_BF16 &&
           node->nb[0] == sizeof(__nv_bfloat16) && node->ne[0] >= node->src[0]->ne[0];
}

void enqueue_round(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const Round arguments{float_rows(x), data_of<__nv_bfloat16>(node), static_cast<int64_t>(node->nb[1]), x->ne[1],
                          static_cast<int>(x->ne[0])};
    with_row_shape(x->ne[0], packs({x, node}), [&]<int kThreads, int kPack>() {
        launch_rows<kThreads>("round_rows", call, &round_kernel<kThreads, kPack>, x->ne[1], arguments);
    });
}

}  // namespace

extern const CudaOp kLinearCuda{&linear_cpu, &supports_linear, &enqueue_linear};
extern const CudaOp kRoundRowsCuda{&round_rows_cpu, &supports_round, &enqueue_round};

}  // namespace ltx
