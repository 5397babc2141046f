#include "kernels/cuda/device.h"

#include "ggml-cuda/common.cuh"

namespace ltx::cuda {

namespace {

__global__ void any_kernel() {}

}  // namespace

int code_version(int device) {
    ggml_cuda_set_device(device);
    cudaFuncAttributes attributes;
    if (cudaFuncGetAttributes(&attributes, any_kernel) != cudaSuccess) {
        static_cast<void>(cudaGetLastError());  // or ggml takes it for one of its own
        return 0;
    }
    return attributes.ptxVersion;
}

size_t shared_bytes_of_processor() {
    int device = 0;
    int bytes = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device) != cudaSuccess) {
        static_cast<void>(cudaGetLastError());
        return 0;
    }
    return static_cast<size_t>(bytes);
}

bool has_code_of(const void * kernel) {
    cudaFuncAttributes attributes;
    if (cudaFuncGetAttributes(&attributes, kernel) != cudaSuccess) {
        static_cast<void>(cudaGetLastError());
        return false;
    }
    return true;
}

}  // namespace ltx::cuda
