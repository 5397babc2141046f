// Memory as ggml's CUDA backend has it.
#pragma once

#include "ggml-backend.h"

namespace emulated {

// Behind a quantised weight is room for whole steps of ggml's kernels. It is zeroed when the weight is placed, on a
// stream that copies of ours do not wait for; so here as late as possible, when a buffer is cleared or read. What
// nobody wrote is 0xff.
ggml_backend_buffer_type_t device_memory();

}  // namespace emulated
