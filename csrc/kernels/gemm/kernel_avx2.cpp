// Built for AVX2 and FMA, see csrc/CMakeLists.txt; called only where the CPU has them.
#if defined(__x86_64__)

#include "kernels/gemm/float_kernel.h"
#include "kernels/gemm/gemm_kernels.h"

namespace ltx {

const GemmKernel kGemmAvx2 = widening_kernel<8, 1, 6>("avx2");

}  // namespace ltx

#endif
