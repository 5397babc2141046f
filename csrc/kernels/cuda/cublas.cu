#include "kernels/cuda/cublas.h"

#include <string>

#include "base/error.h"
#include "ggml-cuda/common.cuh"
#include "ggml-cuda/convert.cuh"

namespace ltx::cuda {

void multiply_bf16(const CudaCall & call, const Product & p) {
    auto & context = *static_cast<ggml_backend_cuda_context *>(call.context);
    const float one = 1.0f;
    const float zero = 0.0f;
    // cuBLAS counts columns first: its result is [out, rows].
    const cublasStatus_t status = cublasGemmEx(
        context.cublas_handle(), CUBLAS_OP_T, CUBLAS_OP_N, static_cast<int>(p.out), static_cast<int>(p.rows),
        static_cast<int>(p.in), &one, p.weight, CUDA_R_16BF, static_cast<int>(p.in), p.x, CUDA_R_16BF,
        static_cast<int>(p.x_stride), &zero, p.result, p.result_type == GGML_TYPE_F32 ? CUDA_R_32F : CUDA_R_16BF,
        static_cast<int>(p.result_stride), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT_TENSOR_OP);
    if (status != CUBLAS_STATUS_SUCCESS) {
        throw BackendError("CUDA: a product of ", p.out, " x ", p.in, " x ", p.rows,
                           " could not be started: ", cublasGetStatusString(status));
    }
}

bool can_decode(ggml_type type) {
    return ggml_is_quantized(type) && ggml_get_to_bf16_cuda(type) != nullptr;
}

void decode_bf16(const CudaCall & call, const ggml_tensor * weight, void * to) {
    ggml_get_to_bf16_cuda(weight->type)(weight->data, static_cast<nv_bfloat16 *>(to), ggml_nelements(weight),
                                        call.stream);
}

}  // namespace ltx::cuda
