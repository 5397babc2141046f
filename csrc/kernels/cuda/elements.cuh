// Elements of tensors on a CUDA device: their types, and several in one access.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace ltx::cuda {

__device__ inline float to_float(float value) {
    return value;
}
__device__ inline float to_float(__nv_bfloat16 value) {
    return __bfloat162float(value);
}
__device__ inline float to_float(__half value) {
    return __half2float(value);
}

template <typename T>
__device__ T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
    return value;
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
    return __float2bfloat16(value);
}
template <>
__device__ inline __half from_float<__half>(float value) {
    return __float2half(value);
}

// Consecutive elements that are read or written in one access; the address must be a multiple of their size.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
    T v[kCount];
};

template <int kCount>
struct Floats {
    float v[kCount];
};

template <int kCount, typename T>
__device__ Floats<kCount> load(const T * from) {
    const auto pack = *reinterpret_cast<const Pack<T, kCount> *>(from);
    Floats<kCount> values;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
        values.v[i] = to_float(pack.v[i]);
    }
    return values;
}

template <int kCount, typename T>
__device__ void store(T * to, const Floats<kCount> & values) {
    Pack<T, kCount> pack;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
        pack.v[i] = from_float<T>(values.v[i]);
    }
    *reinterpret_cast<Pack<T, kCount> *>(to) = pack;
}

}  // namespace ltx::cuda
