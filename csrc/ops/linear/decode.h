// Rows of stored weights as BF16.
#pragma once

#include "ops/custom.h"
#include "ops/gemm/gemm.h"

namespace ltx {

// Decodes `count` elements of a row of `weight` from the block-aligned element `first`.
void decode_row(const ggml_tensor * weight, int64_t row, int64_t first, int64_t count, Bf16 * values);

}  // namespace ltx
