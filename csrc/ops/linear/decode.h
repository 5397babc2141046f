// Rows of stored weights as BF16.
#pragma once

#include "kernels/custom.h"
#include "kernels/gemm/gemm.h"

namespace ltx {

// Decodes `count` elements of a row of `weight` from the block-aligned element `first`.
void decode_row(const ggml_tensor * weight, int64_t row, int64_t first, int64_t count, Bf16 * values);

#if defined(LTX_GEMM_KERNELS)
// Whole blocks, for CPUs that have a matrix kernel (kernels/gemm).
void decode_q8_0_avx512(const uint8_t * blocks, int64_t count, Bf16 * values);
void decode_q4_k_avx512(const uint8_t * blocks, int64_t count, Bf16 * values);
void decode_q5_k_avx512(const uint8_t * blocks, int64_t count, Bf16 * values);
void decode_q6_k_avx512(const uint8_t * blocks, int64_t count, Bf16 * values);
#endif

}  // namespace ltx
