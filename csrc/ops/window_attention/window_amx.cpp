// Built for AMX, see csrc/CMakeLists.txt; called only where the CPU has it and the operating system allows it.
#include "ops/window_attention/window_tiles.h"

#if defined(LTX_GEMM_KERNELS)

#include "kernels/amx_tiles.h"

namespace ltx {

namespace {

void begin() {
    TileConfig config;
    for (int tile = 0; tile < 8; ++tile) {
        config.row_bytes[tile] = static_cast<uint16_t>(kRowBytesOfTile[tile]);
        config.rows[tile] = static_cast<uint8_t>(kRowsOfTile[tile]);
    }
    config.set();
}

struct Bf16Tiles : AmxTiles {
    // sum += left right
    template <int kSum, int kLeft, int kRight>
    void multiply() {
        asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kLeft), "i"(kRight));
    }
};

}  // namespace

const WindowKernel kWindowAmx = tile_kernel<Bf16Tiles>(&begin, &TileConfig::release);

}  // namespace ltx

#endif
