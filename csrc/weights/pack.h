// Conversion of stored values to the types and layouts that the networks compute with.
#pragma once

#include <optional>
#include <span>

#include "base/dtype.h"
#include "ggml.h"

namespace ltx {

// The ggml type of the same encoding; nothing for fp8 and other types that ggml does not have.
std::optional<ggml_type> ggml_type_of(DType dtype);

// Throws UnsupportedError for types that hold no weights (integers, booleans).
void check_weight_dtype(DType dtype);

// Decodes `count` elements starting at the block-aligned element `first`.
void to_float(DType dtype, std::span<const std::byte> stored, int64_t first, float * values, int64_t count);

// Encodes whole rows. `type` is F32, F16, BF16 or a quantised type whose blocks divide `row_elements`.
void from_float(ggml_type type, const float * values, int64_t rows, int64_t row_elements, std::byte * encoded);

}  // namespace ltx
