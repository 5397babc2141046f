// Scratch memory of emulated launches.
#include "kernels/cuda/scratch.h"

#include <cstdlib>

namespace ltx::cuda {

Scratch::Scratch(const CudaCall & call, size_t bytes)
    : context_(call.context), data_(bytes > 0 ? std::malloc(bytes) : nullptr), held_(bytes) {}

Scratch::~Scratch() {
    std::free(data_);
}

}  // namespace ltx::cuda
