#include <cuda_runtime.h>

#include <algorithm>
#include <array>

#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/device.h"

namespace ltx {

extern const CudaOp kAntialiasedSnakeCuda;
extern const CudaOp kAttentionCuda;
extern const CudaOp kBiasGeluCuda;
extern const CudaOp kConvCuda;
extern const CudaOp kConv3dFinishCuda;
extern const CudaOp kConv3dTappedCuda;
extern const CudaOp kConvTransposeCuda;
extern const CudaOp kDepthToSpaceCuda;
extern const CudaOp kGatedResidualCuda;
extern const CudaOp kGroupNormSiluCuda;
extern const CudaOp kGroupStatisticsCuda;
extern const CudaOp kInt8LinearCuda;
extern const CudaOp kInt8RowsCuda;
extern const CudaOp kLinearCuda;
extern const CudaOp kModulateCuda;
extern const CudaOp kNormGridRopeCuda;
extern const CudaOp kNormSplitRopeCuda;
extern const CudaOp kPadFramesCuda;
extern const CudaOp kPixelNormSiluCuda;
extern const CudaOp kRoundRowsCuda;
extern const CudaOp kSpaceToDepthCuda;
extern const CudaOp kWindowAttentionCuda;

namespace {

constexpr std::array kOps{
    &kAntialiasedSnakeCuda, &kAttentionCuda,     &kConv3dTappedCuda,    &kLinearCuda,        &kRoundRowsCuda,
    &kBiasGeluCuda,         &kConvCuda,          &kConv3dFinishCuda,    &kConvTransposeCuda, &kDepthToSpaceCuda,
    &kGatedResidualCuda,    &kGroupNormSiluCuda, &kGroupStatisticsCuda, &kModulateCuda,      &kNormSplitRopeCuda,
    &kPadFramesCuda,        &kPixelNormSiluCuda, &kSpaceToDepthCuda,    &kNormGridRopeCuda,  &kWindowAttentionCuda,
    &kInt8LinearCuda,       &kInt8RowsCuda,
};

const CudaOp * op_of(const ggml_tensor * node) {
    const CustomKernel kernel = kernel_of(node);
    const auto found = std::ranges::find_if(kOps, [&](const CudaOp * op) { return op->cpu == kernel; });
    return found == kOps.end() ? nullptr : *found;
}

}  // namespace

size_t cuda_scratch_bytes(const ggml_tensor * node) {
    const CudaOp * op = op_of(node);
    return op && op->scratch_bytes ? op->scratch_bytes(node) : 0;
}

bool run_cuda_op(void * context, void * stream, int device, ggml_tensor * node) {
    const CudaOp * op = op_of(node);
    if (!op || !op->supports(node)) {
        return false;
    }
    // The code and not the card: a newer card may run what was compiled for one without tensor cores.
    if (!context && op->needs_tensor_cores && cuda::code_version(device) < kTensorCoreCode) {
        return false;
    }
    if (context) {
        try {
            op->launch({context, static_cast<CUstream_st *>(stream)}, node);
        } catch (...) {
            // ggml would leave its stream recording, and take what the device still says of it for a mistake of its
            // own.
            keep_failure();
            static_cast<void>(cudaGetLastError());
        }
    }
    return true;
}

}  // namespace ltx
