// Layouts of tensors, and addresses for those that have none: in the memory of a device, or nowhere, so that graphs
// over them can be measured.
#pragma once

#include <array>
#include <vector>

#include "ggml-backend.h"
#include "ggml-cpp.h"

namespace ltx {

// Gives a tensor without an address another type and other extents, without gaps.
void set_layout(ggml_tensor * tensor, ggml_type type, const std::array<int64_t, GGML_MAX_DIMS> & ne);

// Gives the tensors one buffer of this type, contents undefined. Returns null where the device has too little memory.
// ggml's own function for this is left alone: it does not look at what the smaller of its allocations give.
ggml_backend_buffer_ptr place_on(ggml_backend_buffer_type_t type, const std::vector<ggml_tensor *> & tensors,
                                 ggml_backend_buffer_usage usage);

// Gives each tensor an address of its own where nothing may be read or written. The tensors must not be used after the
// buffer that is returned.
ggml_backend_buffer_ptr place_nowhere(const std::vector<ggml_tensor *> & tensors, ggml_backend_buffer_usage usage);

}  // namespace ltx
