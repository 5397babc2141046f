// The values of stored weights.
#pragma once

#include <span>

#include "io/tensor_table.h"

namespace ltx {

// Decodes the elements from `first` on: the stored numbers times the factor and the scale of their block, rotated back.
// Rotated weights are decoded by whole groups of columns. Throws CheckpointError for a scale that is negative or not
// finite.
void decode_values(const TensorSource & source, int64_t first, std::span<float> values);

// Multiplies the elements from `first` on of a weight with `width` elements in a row by the scales of their blocks.
void apply_scales(const BlockScales & scales, std::span<const std::byte> stored, int64_t first, int64_t width,
                  std::span<float> values);

}  // namespace ltx
