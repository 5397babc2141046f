// Scratch memory of emulated launches.
#include "kernels/cuda/scratch.h"

#include <algorithm>
#include <cstdlib>

#include "emulation.h"

namespace ltx::cuda {

Scratch::Scratch(const CudaCall & call, size_t bytes)
    : context_(call.context),
      data_(bytes > 0 ? std::aligned_alloc(256, (bytes + 255) / 256 * 256) : nullptr),
      held_(bytes) {
    emulated::scratch().taken += bytes;
    emulated::scratch().most = std::max(emulated::scratch().most, emulated::scratch().taken);
}

Scratch::~Scratch() {
    emulated::scratch().taken -= held_;
    std::free(data_);
}

}  // namespace ltx::cuda
