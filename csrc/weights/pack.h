// Conversion of stored values to the types and layouts that the networks compute with.
#pragma once

#include <optional>
#include <span>

#include "base/dtype.h"
#include "ggml.h"

namespace ltx {

// The ggml type of the same encoding; nothing for fp8 and other types that ggml does not have.
std::optional<ggml_type> ggml_type_of(DType dtype);

// Throws UnsupportedError for types that hold no weights (integers but I8, booleans).
void check_weight_dtype(DType dtype);

// What addresses of values have to be a multiple of: ggml loads numbers of up to four bytes where they lie.
size_t alignment_of(ggml_type type);

// Decodes `count` elements from the element `first` on; of blocks that they begin or end in, a part.
void to_float(DType dtype, std::span<const std::byte> stored, int64_t first, float * values, int64_t count);

// Whether from_float makes a type, well enough for weights that were changed on the way from the file.
bool can_encode(ggml_type type);

// Encodes whole rows. The blocks of `type` divide `row_elements`. Throws UnsupportedError for one that can_encode
// refuses.
void from_float(ggml_type type, const float * values, int64_t rows, int64_t row_elements, std::byte * encoded);

}  // namespace ltx
