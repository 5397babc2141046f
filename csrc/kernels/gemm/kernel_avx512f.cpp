// Built for AVX-512, see csrc/CMakeLists.txt; called only where the CPU has it.
#if defined(__x86_64__)

#include "kernels/gemm/float_kernel.h"
#include "kernels/gemm/gemm_kernels.h"

namespace ltx {

const GemmKernel kGemmAvx512f = widening_kernel<16, 1, 12>("avx512f");

}  // namespace ltx

#endif
