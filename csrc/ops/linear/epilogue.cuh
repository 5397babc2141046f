// What follows a product (LinearEpilogue), for the CUDA kernels that end with it.
#pragma once

#include "kernels/cuda/kernel.cuh"
#include "ops/linear/linear.h"

namespace ltx::cuda {

// Of one row of results.
struct RowEpilogue {
    const float *bias, *residual, *gate;  // null where there is none
    bool known;                           // whether the table of gates has this row
    bool gelu;

    // `values`: elements from `column` on.
    template <int kPack>
    __device__ void finish(Floats<kPack> & values, int column) const {
        if (bias) {
            const Floats<kPack> biases = load<kPack>(bias + column);
#pragma unroll
            for (int j = 0; j < kPack; ++j) {
                values.v[j] += biases.v[j];
            }
        }
        if (gelu) {
#pragma unroll
            for (int j = 0; j < kPack; ++j) {
                values.v[j] = cuda::gelu(values.v[j]);
            }
        }
        if (gate) {
            const Floats<kPack> gates = load<kPack>(gate + column);
#pragma unroll
            for (int j = 0; j < kPack; ++j) {
                values.v[j] = known ? values.v[j] * gates.v[j] : nanf("");
            }
        }
        if (residual) {
            const Floats<kPack> added = load<kPack>(residual + column);
#pragma unroll
            for (int j = 0; j < kPack; ++j) {
                values.v[j] = added.v[j] + values.v[j];
            }
        }
    }
};

struct RowEpilogues {
    const float * bias;        // or null
    FloatRows residual, gate;  // or none
    TokenRows gate_rows;
    bool gelu;

    __device__ RowEpilogue at(int64_t token) const {
        const int64_t row = gate_rows.at(token);
        const bool known = row >= 0;
        return {bias, residual.first ? residual.at(token) : nullptr, gate.first ? gate.at(known ? row : 0) : nullptr,
                known, gelu};
    }
};

// Of a node's rows from number `first` on.
inline RowEpilogues row_epilogues(const LinearSources & s, const LinearConstants & constants, int64_t first = 0) {
    FloatRows residual = float_rows(s.residual);
    if (residual.first) {
        residual.first = row_at(residual.first, residual.stride, first);
    }
    return {
        .bias = s.bias ? data_of<const float>(s.bias) : nullptr,
        .residual = residual,
        .gate = float_rows(s.gate),
        .gate_rows = {s.gate_rows ? data_of<const int32_t>(s.gate_rows) + first : nullptr, s.gate ? s.gate->ne[1] : 1},
        .gelu = constants.gelu != 0};
}

}  // namespace ltx::cuda
