// Exact float32 products of BF16 weights on BF16 matrix units: a float is the sum of three BF16 numbers, of which each
// product with a weight fits into a float, and the units add in float32.
#pragma once

#include <cstdint>

#include "kernels/gemm/gemm.h"
#include "ops/conv/tile.h"

namespace ltx {

// Whether this CPU multiplies so faster than in float32, and the weights can be used so.
bool splits(const ggml_tensor * weight);

// Writes the upper, middle and lower part of every value, `part` elements apart, zeros behind them up to `part`.
// What is less than 2^-110 may lose its lower part.
void split_row(const float * x, int64_t count, int64_t part, Bf16 * out);

// multiply_tile for rows made by split_row, panels of kGemmCols. Rows up to the next multiple of 16 positions past a
// line are read; what they hold does not matter.
void multiply_split_tile(const Tile & tile, int64_t first_panel, int64_t last_panel, TileScratch & scratch);

}  // namespace ltx
