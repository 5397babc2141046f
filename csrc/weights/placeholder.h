// Addresses for tensors whose memory is not there, so that graphs over them can be measured.
#pragma once

#include <vector>

#include "ggml-backend.h"
#include "ggml-cpp.h"

namespace ltx {

// Gives each tensor, which has none, an address of its own where nothing may be read or written. The tensors must not
// be used after the buffer that is returned.
ggml_backend_buffer_ptr place_nowhere(const std::vector<ggml_tensor *> & tensors, ggml_backend_buffer_usage usage);

}  // namespace ltx
