// What the CUDA kernels share: rows and their sums, the launch.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/error.h"
#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/elements.cuh"

namespace ltx::cuda {

inline constexpr int kWarp = 32;

__device__ inline float silu(float x) {
    return x / (1.0f + expf(-x));
}

// 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u)), which keeps its relative precision for negative u.
__device__ inline float gelu(float y) {
    constexpr float kMinusTwoSqrt2OverPi = -1.5957691216057308f;
    constexpr float kCubic = 0.044715f;
    return y / (1.0f + expf(kMinusTwoSqrt2OverPi * (y + kCubic * (y * y * y))));
}

// Rows are shared by kThreads threads along x: a warp, of which a block holds several along y, or one whole block.
template <int kThreads>
__device__ int64_t row_of_threads() {
    return static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
}

// The sum over the threads of a row, in the same order every time. All of them must call it.
template <int kThreads>
__device__ float sum_of_row(float value) {
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, offset);
    }
    if constexpr (kThreads > kWarp) {
        __shared__ float of_warp[kThreads / kWarp];
        if (threadIdx.x % kWarp == 0) {
            of_warp[threadIdx.x / kWarp] = value;
        }
        __syncthreads();
        value = 0.0f;
#pragma unroll
        for (int i = 0; i < kThreads / kWarp; ++i) {
            value += of_warp[i];
        }
        __syncthreads();  // before the next sum writes
    }
    return value;
}

// 1 / sqrt(mean of squares + eps) of a row.
template <int kThreads, int kPack>
__device__ float inverse_rms(const float * x, int width, float eps) {
    float sum = 0.0f;
    for (int i = threadIdx.x * kPack; i < width; i += kThreads * kPack) {
        const Floats<kPack> values = load<kPack>(x + i);
#pragma unroll
        for (int j = 0; j < kPack; ++j) {
            sum += values.v[j] * values.v[j];
        }
    }
    return 1.0f / sqrtf(sum_of_row<kThreads>(sum) / static_cast<float>(width) + eps);
}

// A tensor of rows, in bytes where rows may lie apart.
template <typename T>
__host__ __device__ T * row_at(T * first, int64_t stride_bytes, int64_t row) {
    using Byte = std::conditional_t<std::is_const_v<T>, const char, char>;
    return reinterpret_cast<T *>(reinterpret_cast<Byte *>(first) + row * stride_bytes);
}

template <typename T>
T * data_of(const ggml_tensor * tensor) {
    return static_cast<T *>(tensor->data);
}

// F32 rows that may lie apart; `first` is null where there are none.
struct FloatRows {
    const float * first;
    int64_t stride;  // bytes

    __device__ const float * at(int64_t row) const { return row_at(first, stride, row); }
};

inline FloatRows float_rows(const ggml_tensor * tensor) {
    return tensor ? FloatRows{data_of<const float>(tensor), static_cast<int64_t>(tensor->nb[1])} : FloatRows{};
}

// The row of a table that each token takes (expect_row_table).
struct TokenRows {
    const int32_t * list;  // null: all take the first row
    int64_t distinct;      // rows of the table

    // Negative for a row that the table does not have.
    __device__ int64_t at(int64_t token) const {
        const int64_t row = list ? list[token] : 0;
        return row < distinct ? row : -1;
    }
};

// Whether rows of all these tensors, null ones aside, may be accessed four elements at a time.
inline bool packs(std::initializer_list<const ggml_tensor *> tensors) {
    return std::ranges::all_of(tensors, [](const ggml_tensor * tensor) {
        const size_t bytes = tensor ? 4 * ggml_type_size(tensor->type) : 0;
        return !tensor || (tensor->ne[0] % 4 == 0 && reinterpret_cast<uintptr_t>(tensor->data) % bytes == 0 &&
                           tensor->nb[1] % bytes == 0 && tensor->nb[2] % bytes == 0 && tensor->nb[3] % bytes == 0);
    });
}

// Whether the elements of a row lie next to each other in all these tensors, null ones aside, as every operation here
// wants them.
inline bool have_rows(ggml_type type, std::initializer_list<const ggml_tensor *> tensors) {
    return std::ranges::all_of(tensors, [type](const ggml_tensor * tensor) {
        return !tensor || (tensor->type == type && (tensor->nb[0] == ggml_type_size(type) || tensor->ne[0] == 1) &&
                           tensor->ne[0] <= INT32_MAX);
    });
}

inline int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// Enqueues a kernel of one argument. Nothing is enqueued for an empty grid.
template <typename Arguments>
void launch(const char * op, const CudaCall & call, void (*kernel)(Arguments), dim3 grid, dim3 block,
            Arguments arguments, size_t shared_bytes = 0) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) {
        return;
    }
    void * pointers[] = {&arguments};
    const cudaError_t error = cudaLaunchKernel(kernel, grid, block, pointers, shared_bytes, call.stream);
    if (error != cudaSuccess) {
        throw BackendError("CUDA: ", op, " could not be started: ", cudaGetErrorString(error));
    }
}

// Rows up to this wide are the work of one warp.
inline constexpr int64_t kWarpRow = 1024;
inline constexpr int kBlockThreads = 256;

// Launches a kernel whose rows are shared by kThreads threads.
template <int kThreads, typename Arguments>
void launch_rows(const char * op, const CudaCall & call, void (*kernel)(Arguments), int64_t rows,
                 const Arguments & arguments) {
    constexpr int kRows = kThreads == kWarp ? kBlockThreads / kWarp : 1;
    launch(op, call, kernel, dim3(static_cast<unsigned>(ceil_div(rows, kRows))), dim3(kThreads, kRows), arguments);
}

// Calls f with compile-time threads per row and elements per access.
template <typename F>
void with_row_shape(int64_t width, bool packed, F && f) {
    if (width <= kWarpRow) {
        packed ? f.template operator()<kWarp, 4>() : f.template operator()<kWarp, 1>();
    } else {
        packed ? f.template operator()<kBlockThreads, 4>() : f.template operator()<kBlockThreads, 1>();
    }
}

// Calls f with the element type of a floating-point tensor as its template argument; false for other types.
template <typename F>
bool with_type(ggml_type type, F && f) {
    switch (type) {
        case GGML_TYPE_F32:
            f.template operator()<float>();
            return true;
        case GGML_TYPE_BF16:
            f.template operator()<__nv_bfloat16>();
            return true;
        case GGML_TYPE_F16:
            f.template operator()<__half>();
            return true;
        default:
            return false;
    }
}

inline bool is_float_type(ggml_type type) {
    return type == GGML_TYPE_F32 || type == GGML_TYPE_BF16 || type == GGML_TYPE_F16;
}

}  // namespace ltx::cuda
