// The product behind both convolutions: a tile of positions times kernel matrices, in float32.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "ggml.h"

namespace ltx {

// One tap: the matrix it multiplies by, and where its inputs start, in floats from those of the first tap.
struct TileTap {
    int64_t matrix;
    int64_t offset;
};

// Positions lie in `lines` lines of `width`. Strides are in floats.
struct Tile {
    const ggml_tensor * weight;  // F32, F16 or BF16 [out, in, taps]
    std::span<const TileTap> taps;
    const float * rows;  // input row of the first position and of a tap with offset 0
    int64_t lines;
    int64_t width;
    int64_t line_stride;
    int64_t step;
    float * out;  // result of the first position
    int64_t out_line_stride;
    int64_t out_step;
    const float * bias;      // [out] or null
    const float * residual;  // laid out like the result, or null
};

// Working memory of one thread; grows on demand.
class TileScratch {
public:
    float * panel(int64_t floats) { return grow(panel_, panel_size_, floats); }
    float * sums(int64_t floats) { return grow(sums_, sums_size_, floats); }
    float * rows(int64_t floats) { return grow(rows_, rows_size_, floats); }

private:
    static float * grow(std::unique_ptr<float[]> & memory, int64_t & size, int64_t floats) {
        if (size < floats) {
            memory = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(floats));
            size = floats;
        }
        return memory.get();
    }

    std::unique_ptr<float[]> panel_, sums_, rows_;
    int64_t panel_size_ = 0, sums_size_ = 0, rows_size_ = 0;
};

// Output channels that are computed together, and positions in a block; tiles are best multiples of the latter.
int64_t tile_panel();
int64_t tile_block();

// Computes panels [first, last) of tile_panel() output channels each. Every result is summed in the same order whatever
// the tile, so how work is divided does not show.
void multiply_tile(const Tile & tile, int64_t first_panel, int64_t last_panel, TileScratch & scratch);

}  // namespace ltx
