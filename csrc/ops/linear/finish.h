// What follows a product, on the CPU: bias, GELU or a gated residual.
#pragma once

#include "ops/linear/linear.h"

namespace ltx {

// Most columns at a time.
inline constexpr int64_t kFinishedColumns = 256;

// Writes `count` columns from `first` on of row `row` of a node with LinearConstants. sums: those columns of W x.
void finish_columns(const LinearSources & in, ggml_tensor * node, int64_t row, int64_t first, int64_t count,
                    const float * sums);

}  // namespace ltx
