// Built for AMX, see csrc/CMakeLists.txt; called only where the CPU has it and the operating system allows it.
#include "kernels/int8/int8_kernels.h"
#include "kernels/int8/tiles.h"

#if defined(LTX_INT8_KERNELS)

#include "kernels/amx_tiles.h"

namespace ltx {

namespace {

struct Int8Tiles : AmxTiles {
    // sum += left right, all with a sign
    template <int kSum, int kLeft, int kRight>
    void multiply() {
        asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kLeft), "i"(kRight));
    }
};

void begin() {
    TileConfig config;
    for (int tile = 0; tile < 8; ++tile) {
        config.row_bytes[tile] = 64;
        config.rows[tile] = 16;
    }
    config.set();
}

}  // namespace

// Deep panels, because sums that come and go with every part of the depth take longer than the products.
const Int8Kernel kInt8Amx{
    "amx_int8", kTileDepth,          kTileRows, {192, kInt8MaxDepth}, &pack_int8_avx512, &multiply_on_tiles<Int8Tiles>,
    &begin,     &TileConfig::release};

}  // namespace ltx

#endif
