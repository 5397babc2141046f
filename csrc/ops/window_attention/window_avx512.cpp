// Built for AVX-512, see csrc/CMakeLists.txt; called only where the CPU has it.
#if defined(__x86_64__)

#include "ops/window_attention/window_kernel.h"

namespace ltx {

const WindowKernel kWindowAvx512{2, 2, 4, &attend_plane<16, 7, 8>};

}  // namespace ltx

#endif
