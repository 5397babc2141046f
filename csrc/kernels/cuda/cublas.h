// Products on the backend's cuBLAS handle, and its decoders of quantised weights.
#pragma once

#include "kernels/cuda/cuda_op.h"

namespace ltx::cuda {

// result[row][o] = sum over i of x[row][i] weight[o][i], all BF16 with F32 sums.
struct Product {
    const void * weight;  // [in, out] without gaps
    const void * x;       // [in, rows]
    int64_t x_stride;     // in elements
    int64_t in, out, rows;
    void * result;
    ggml_type result_type;  // F32 or BF16
    int64_t result_stride;  // in elements
};

// Throws BackendError.
void multiply_bf16(const CudaCall & call, const Product & product);

// Whether decode_bf16 takes weights of this type.
bool can_decode(ggml_type type);

// `weight`, without gaps, as BF16.
void decode_bf16(const CudaCall & call, const ggml_tensor * weight, void * to);

}  // namespace ltx::cuda
