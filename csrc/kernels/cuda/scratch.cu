#include "kernels/cuda/scratch.h"

#include "ggml-backend-impl.h"
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

namespace ltx {

void drop_recorded_graphs([[maybe_unused]] ggml_backend * backend) {
#ifdef USE_CUDA_GRAPH
    auto & context = *static_cast<ggml_backend_cuda_context *>(backend->context);
    ggml_cuda_set_device(context.device);
    context.cuda_graphs.clear();
#endif
}

bool reserve_cuda_scratch(ggml_backend * backend, size_t bytes, size_t held) {
    // Its own rounding, of each of two pieces of scratch memory.
    constexpr size_t kGranularity = size_t{4} << 20;
    auto & context = *static_cast<ggml_backend_cuda_context *>(backend->context);
    ggml_cuda_set_device(context.device);
    size_t free = 0;
    size_t total = 0;
    if (cudaMemGetInfo(&free, &total) != cudaSuccess || free < bytes - held + kGranularity) {
        static_cast<void>(cudaGetLastError());
        return false;
    }
    const CudaCall call{&context, context.stream()};
    const cuda::Scratch all(call, bytes);
    return true;
}

}  // namespace ltx
