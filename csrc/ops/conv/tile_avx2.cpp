// Built for AVX2 and FMA, see csrc/CMakeLists.txt; called only where the CPU has them.
#if defined(__x86_64__)

#include "ops/conv/tile_kernel.h"

namespace ltx {

const TileKernel kTileAvx2{16, 6, &multiply_any<8, 6>};

}  // namespace ltx

#endif
