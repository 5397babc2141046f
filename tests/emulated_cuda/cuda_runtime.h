// The part of CUDA's language and library that the kernels use, for emulation.h.
#pragma once

#include <cmath>
#include <type_traits>

#include "emulation.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// A thread of the host runs one block at a time.
#define __shared__ static thread_local

#define threadIdx (::emulated::thread_index())
#define blockIdx (::emulated::block_index())
#define blockDim (::emulated::block_size())
#define gridDim (::emulated::grid_size())

struct CUstream_st;
using cudaStream_t = CUstream_st *;

struct dim3 : emulated::Index {
    dim3(unsigned nx = 1, unsigned ny = 1, unsigned nz = 1) : emulated::Index{nx, ny, nz} {}
};

enum cudaError_t {
    cudaSuccess,
    cudaErrorInvalidValue = 1,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidDevice = 101,
    cudaErrorNoKernelImageForDevice = 209
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerMultiprocessor };
struct cudaFuncAttributes {
    int ptxVersion;
};

// Stays until it is asked for, as on a device.
inline cudaError_t & emulated_error() {
    static thread_local cudaError_t instance = cudaSuccess;
    return instance;
}

inline cudaError_t cudaGetLastError() {
    const cudaError_t error = emulated_error();
    emulated_error() = cudaSuccess;
    return error;
}

inline const char * cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorInvalidConfiguration ? "invalid configuration argument" : "invalid argument";
}

template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel * kernel, cudaFuncAttribute, int bytes) {
    return emulated::allow_shared(reinterpret_cast<const void *>(kernel), static_cast<size_t>(bytes))
               ? cudaSuccess
               : (emulated_error() = cudaErrorInvalidValue);
}

// A kernel that is given without its type is one for compute capability 9.0 alone.
template <typename Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes * attributes, Kernel * kernel) {
    if (!std::is_function_v<Kernel> && !emulated::take_for_90(reinterpret_cast<const void *>(kernel))) {
        return emulated_error() = cudaErrorNoKernelImageForDevice;
    }
    attributes->ptxVersion = emulated::cards()[emulated::card()];
    return cudaSuccess;
}

inline cudaError_t cudaGetDevice(int * device) {
    *device = emulated::card();
    return cudaSuccess;
}

inline cudaError_t cudaSetDevice(int device) {
    if (device < 0 || static_cast<size_t>(device) >= emulated::cards().size()) {
        return emulated_error() = cudaErrorInvalidDevice;
    }
    emulated::card() = device;
    return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int * value, cudaDeviceAttr, int device) {
    *value = (emulated::cards()[device] == 86 ? 100 : 228) << 10;
    return cudaSuccess;
}

template <typename Arguments>
cudaError_t cudaLaunchKernel(void (*kernel)(Arguments), dim3 grid, dim3 block, void ** arguments, size_t shared_bytes,
                             cudaStream_t) {
    if (!emulated::can_launch(reinterpret_cast<const void *>(kernel), grid, block, shared_bytes)) {
        return emulated_error() = cudaErrorInvalidConfiguration;
    }
    const Arguments & a = *static_cast<const Arguments *>(arguments[0]);
    emulated::run(grid, block, shared_bytes, [&] { kernel(a); });
    return cudaSuccess;
}

inline unsigned max(unsigned a, unsigned b) {
    return a < b ? b : a;
}

inline void __syncthreads() {
    emulated::sync_block();
}

inline void __syncwarp() {
    emulated::sync_warp();
}

template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
    return emulated::from_lane(value, emulated::lane() ^ mask);
}

inline bool __any_sync(unsigned, bool predicate) {
    bool any = false;
    emulated::publish(&predicate, sizeof(predicate));
    for (int lane = 0; lane < 32; ++lane) {
        any = any || *static_cast<const bool *>(emulated::published(lane));
    }
    emulated::sync_warp();
    return any;
}
