// The softmax of one row of logits, a block of keys at a time.
#pragma once

#include "kernels/gemm/gemm.h"

namespace ltx {

// Largest logit and sum of weights so far, both of a row; logits are in units of ln 2.
struct RunningSoftmax {
    float maximum = -1e30f;  // not infinite: a row that is masked throughout keeps weights of zero
    float sum = 0.0f;
};

#if defined(LTX_GEMM_KERNELS)
// Turns `count` logits times `scale` plus `mask` (F16 bits, in nats, or null) into weights relative to the running
// maximum, zeros up to a multiple of kGemmDepth, and brings `state` up to date. Returns the factor by which what was
// summed with the weights before has to be multiplied.
float softmax_block_avx512(const float * logits, int64_t count, float scale, const uint16_t * mask, Bf16 * weights,
                           RunningSoftmax & state);

// row *= factor
void scale_row_avx512(float * row, int64_t count, float factor);

// row * factor as BF16; count is a multiple of 32.
void scaled_to_bf16_avx512(const float * row, int64_t count, float factor, Bf16 * out);
#endif

}  // namespace ltx
