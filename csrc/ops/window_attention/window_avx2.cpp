// Built for AVX2 and FMA, see csrc/CMakeLists.txt; called only where the CPU has them.
#if defined(__x86_64__)

#include "ops/window_attention/window_kernel.h"

namespace ltx {

const WindowKernel kWindowAvx2{1, 2, 4, &attend_plane<8, 6, 6>};

}  // namespace ltx

#endif
