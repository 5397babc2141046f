// The small matrices of adapters: read whole, and multiplied.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/tensor_table.h"

namespace ltx {

// rows (count, columns) += left (count, inner) * right (inner, columns), all dense.
void add_product(const float * left, const float * right, int64_t inner, int64_t columns, int64_t count, float * rows);

// All values of a stored matrix of an adapter. `weight`, which it changes, is for messages. Throws CheckpointError for
// a file that changed and for values that are not finite, which would spread to all of the result.
std::vector<float> decode_factor(const std::string & weight, const TensorSource & source, int threads);

}  // namespace ltx
