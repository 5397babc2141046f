// The matrix registers of AMX. Included by sources built for it, so all in here has internal linkage.
#pragma once

#include <cstdint>

namespace ltx {

namespace {

struct alignas(64) TileConfig {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};

    // gcc's intrinsic claims to read eight bytes only.
    void set() const { asm volatile("ldtilecfg %0" : : "m"(*this)); }
    static void release() { asm volatile("tilerelease"); }
};

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
};

}  // namespace

}  // namespace ltx
