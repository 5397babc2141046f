#include "kernels/cuda/scratch.h"

#include "ggml-cuda/common.cuh"

namespace ltx::cuda {

namespace {

ggml_cuda_pool & pool_of(void * context) {
    return static_cast<ggml_backend_cuda_context *>(context)->pool();
}

}  // namespace

Scratch::Scratch(const CudaCall & call, size_t bytes) : context_(call.context) {
    if (bytes > 0) {
        data_ = pool_of(context_).alloc(bytes, &held_);
    }
}

Scratch::~Scratch() {
    if (data_) {
        pool_of(context_).free(data_, held_);
    }
}

}  // namespace ltx::cuda
