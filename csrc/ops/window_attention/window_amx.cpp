// Built for AMX, see csrc/CMakeLists.txt; called only where the CPU has it and the operating system allows it.
#include "ops/window_attention/window_tiles.h"

#if defined(LTX_GEMM_KERNELS)

namespace ltx {

namespace {

struct alignas(64) TileConfig {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

void begin() {
    TileConfig config;
    for (int tile = 0; tile < 8; ++tile) {
        config.row_bytes[tile] = static_cast<uint16_t>(kRowBytesOfTile[tile]);
        config.rows[tile] = static_cast<uint8_t>(kRowsOfTile[tile]);
    }
    asm volatile("ldtilecfg %0" : : "m"(config));
}

void end() {
    asm volatile("tilerelease");
}

// Rows lie `stride` bytes apart. The intrinsics want a digit for a tile, which a template's number is not.
struct AmxTiles {
    template <int kTile>
    void zero() {
        asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
    }
    template <int kTile>
    void load(const void * memory, int64_t stride) {
        asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(kTile), "r"(memory), "r"(stride) : "memory");
    }
    template <int kTile>
    void store(void * memory, int64_t stride) {
        asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(kTile), "r"(memory), "r"(stride) : "memory");
    }
    // sum += left right
    template <int kSum, int kLeft, int kRight>
    void multiply() {
        asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kLeft), "i"(kRight));
    }
};

}  // namespace

const WindowKernel kWindowAmx = tile_kernel<AmxTiles>(&begin, &end);

}  // namespace ltx

#endif
