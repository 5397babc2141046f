// Products that cuBLASLt finishes itself: bias and GELU are applied before the one store of a result, where cuBLAS
// alone would leave F32 sums to be read again.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernels/cuda/cublas.h"

namespace ltx::cuda {

// The one switch: whether operations ask for such products. They do, although none ran on a GPU yet: what the library
// refuses runs the other way, and no synchronisation of ours is in it that tests leave out.
inline constexpr bool kTakesLt = true;
// The same for tests and measurements that compare both ways; set before anything is computed, because recorded graphs
// stay as they are.
inline std::atomic<bool> takes_lt{kTakesLt};

// result[row][o] = f(sum + bias[o]), with the sums of `product` in F32 and one rounding, of what is stored.
struct FusedProduct {
    Product product;
    const void * bias;  // [out] of the result's type, as cuBLASLt wants it, or null
    bool gelu;          // f: GELU in the tanh form, else what it is given
};

// How a device computes a product.
struct FusedPlan {
    std::array<uint64_t, 8> algorithm;
    size_t workspace_bytes;  // of scratch memory
};

// The most that a plan takes: what NVIDIA recommends for the largest devices.
inline constexpr size_t kMostWorkspaceBytes = size_t{32} << 20;
// Where a workspace has to begin; memory from ggml's pool begins at multiples of 128.
inline constexpr size_t kWorkspaceAlignment = 256;

// Null where cuBLASLt has no such product for these shapes and addresses. Enqueues nothing; asked once per shape, type,
// alignment and device, so recorded graphs find the answer of the run before them. From any thread.
std::optional<FusedPlan> plan_fused(const CudaCall & call, const FusedProduct & fused);

// Enqueues a product; false, with nothing enqueued, where cuBLASLt refuses what it planned, which is not planned again.
// Throws BackendError where the device fails.
bool multiply_fused(const CudaCall & call, const FusedProduct & fused, const FusedPlan & plan, void * workspace);

}  // namespace ltx::cuda
