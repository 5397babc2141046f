// Built for AVX-512, see csrc/CMakeLists.txt; called only where the CPU has them.
#if defined(__x86_64__)

#include "ops/conv/tile_kernel.h"

namespace ltx {

const TileKernel kTileAvx512{32, 12, &multiply_any<16, 12>};

}  // namespace ltx

#endif
