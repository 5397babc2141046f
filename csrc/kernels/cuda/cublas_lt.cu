#include "kernels/cuda/cublas_lt.h"

#include <cublasLt.h>

#include <algorithm>
#include <bit>
#include <compare>
#include <map>
#include <mutex>
#include <string>

#include "base/error.h"
#include "ggml-cuda/common.cuh"

namespace ltx::cuda {

namespace {

// What an answer depends on.
struct Key {
    int device;
    int64_t in, out, rows, x_stride, result_stride;
    int result_type;
    bool gelu;
    uint32_t weight_alignment, x_alignment, result_alignment, bias_alignment;  // zero where there is no bias

    auto operator<=>(const Key &) const = default;
};

// Every clip's size brings its own shapes; a process that makes many is not to keep them all.
constexpr size_t kMostPlans = 4096;

struct Plans {
    std::mutex mutex;
    std::map<Key, std::optional<FusedPlan>> of_key;
};

Plans & plans() {
    static Plans instance;
    return instance;
}

// The largest power of two that divides an address, up to where ggml puts tensors: a weight in another place is to be
// multiplied in the same way.
uint32_t alignment_of(const void * data) {
    constexpr uintptr_t kMost = 128;
    return static_cast<uint32_t>(1) << std::countr_zero(reinterpret_cast<uintptr_t>(data) | kMost);
}

Key key_of(int device, const FusedProduct & fused) {
    const Product & p = fused.product;
    return {.device = device,
            .in = p.in,
            .out = p.out,
            .rows = p.rows,
            .x_stride = p.x_stride,
            .result_stride = p.result_stride,
            .result_type = p.result_type,
            .gelu = fused.gelu,
            .weight_alignment = alignment_of(p.weight),
            .x_alignment = alignment_of(p.x),
            .result_alignment = alignment_of(p.result),
            .bias_alignment = fused.bias ? alignment_of(fused.bias) : 0};
}

cublasLtEpilogue_t epilogue_of(const FusedProduct & fused) {
    if (fused.gelu) {
        return fused.bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    }
    return fused.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

// A product in cuBLASLt's terms, whose matrices lie column by column: its result is [out, rows].
class Description {
public:
    explicit Description(const FusedProduct & fused) {
        const Product & p = fused.product;
        const cudaDataType_t result_type = p.result_type == GGML_TYPE_F32 ? CUDA_R_32F : CUDA_R_16BF;
        const auto in = static_cast<uint64_t>(p.in);
        const auto out = static_cast<uint64_t>(p.out);
        const auto rows = static_cast<uint64_t>(p.rows);
        check(cublasLtMatmulDescInit(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
        set(CUBLASLT_MATMUL_DESC_TRANSA, static_cast<int32_t>(CUBLAS_OP_T));
        set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<uint32_t>(epilogue_of(fused)));
        if (fused.bias) {
            set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, fused.bias);
            set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(result_type));
        }
        check(cublasLtMatrixLayoutInit(&weight_, CUDA_R_16BF, in, out, p.in));
        check(cublasLtMatrixLayoutInit(&x_, CUDA_R_16BF, in, rows, p.x_stride));
        check(cublasLtMatrixLayoutInit(&result_, result_type, out, rows, p.result_stride));
    }

    std::optional<FusedPlan> plan(cublasLtHandle_t handle, const Key & key) {
        cublasLtMatmulPreferenceOpaque_t preference;
        check(cublasLtMatmulPreferenceInit(&preference));
        const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
            check(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof(value)));
        };
        prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kMostWorkspaceBytes));
        // Parts of a sum must not be rounded to the result's type before they are added up.
        prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
               static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.weight_alignment);
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.x_alignment);
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.result_alignment);
        prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.result_alignment);
        cublasLtMatmulHeuristicResult_t answer{};
        int answers = 0;
        if (is_valid_) {
            check(cublasLtMatmulAlgoGetHeuristic(handle, &operation_, &weight_, &x_, &result_, &result_, &preference, 1,
                                                 &answer, &answers));
        }
        if (!is_valid_ || answers == 0 || answer.state != CUBLAS_STATUS_SUCCESS ||
            answer.workspaceSize > kMostWorkspaceBytes) {
            return std::nullopt;
        }
        FusedPlan plan{.algorithm = {}, .workspace_bytes = answer.workspaceSize};
        static_assert(sizeof(plan.algorithm) == sizeof(answer.algo.data));
        std::ranges::copy(answer.algo.data, plan.algorithm.begin());
        return plan;
    }

    cublasStatus_t enqueue(cublasLtHandle_t handle, const CudaCall & call, const Product & p, const FusedPlan & plan,
                           void * workspace) {
        const float one = 1.0f;
        const float zero = 0.0f;
        cublasLtMatmulAlgo_t algorithm;
        std::ranges::copy(plan.algorithm, algorithm.data);
        return cublasLtMatmul(handle, &operation_, &one, p.weight, &weight_, p.x, &x_, &zero, p.result, &result_,
                              p.result, &result_, &algorithm, workspace, plan.workspace_bytes, call.stream);
    }

private:
    void check(cublasStatus_t status) { is_valid_ = is_valid_ && status == CUBLAS_STATUS_SUCCESS; }

    template <typename T>
    void set(cublasLtMatmulDescAttributes_t attribute, T value) {
        check(cublasLtMatmulDescSetAttribute(&operation_, attribute, &value, sizeof(value)));
    }

    cublasLtMatmulDescOpaque_t operation_;
    cublasLtMatrixLayoutOpaque_t weight_, x_, result_;
    bool is_valid_ = true;
};

// Every handle of cuBLAS is one of cuBLASLt too.
cublasLtHandle_t handle_of(ggml_backend_cuda_context & context) {
    return reinterpret_cast<cublasLtHandle_t>(context.cublas_handle());
}

}  // namespace

std::optional<FusedPlan> plan_fused(const CudaCall & call, const FusedProduct & fused) {
    auto & context = *static_cast<ggml_backend_cuda_context *>(call.context);
    const Key key = key_of(context.device, fused);
    Plans & known = plans();
    const std::lock_guard lock(known.mutex);
    if (const auto found = known.of_key.find(key); found != known.of_key.end()) {
        return found->second;
    }
    if (known.of_key.size() >= kMostPlans) {
        known.of_key.clear();
    }
    return known.of_key[key] = Description(fused).plan(handle_of(context), key);
}

bool multiply_fused(const CudaCall & call, const FusedProduct & fused, const FusedPlan & plan, void * workspace) {
    auto & context = *static_cast<ggml_backend_cuda_context *>(call.context);
    const Product & p = fused.product;
    const cublasStatus_t status = Description(fused).enqueue(handle_of(context), call, p, plan, workspace);
    if (status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE ||
        status == CUBLAS_STATUS_ARCH_MISMATCH) {
        Plans & known = plans();
        const std::lock_guard lock(known.mutex);
        known.of_key[key_of(context.device, fused)] = std::nullopt;
        return false;
    }
    if (status != CUBLAS_STATUS_SUCCESS) {
        throw BackendError("CUDA: a product of ", p.out, " x ", p.in, " x ", p.rows,
                           " with its epilogue could not be started: ", cublasGetStatusString(status));
    }
    return true;
}

}  // namespace ltx::cuda
