// Built for the package's baseline: SSE2 on x86-64, NEON on 64-bit ARM.
#include "kernels/gemm/float_kernel.h"
#include "kernels/gemm/gemm_kernels.h"

namespace ltx {

#if defined(__aarch64__)
// 32 registers: 20 of sums, four of columns, and rows.
const GemmKernel kGemmPlain = widening_kernel<4, 2, 5>("plain");
#else
const GemmKernel kGemmPlain = widening_kernel<4, 1, 6>("plain");
#endif

}  // namespace ltx
