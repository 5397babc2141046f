// The product behind both convolutions: a tile of positions times kernel matrices, in float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

#include "ggml.h"

namespace ltx {

// How the input rows of a tile lie in memory: floats, or three BF16 parts of every float (ops/conv/split.h).
struct RowLayout {
    bool split;
    int64_t pitch;  // from row to row, in floats or BF16 numbers
    int64_t panel;  // output channels that are computed together
    int64_t block;  // positions that are; tiles are best multiples of it

    static RowLayout of(const ggml_tensor * weight);

    int64_t row_bytes() const { return pitch * (split ? 2 : 4); }
};

// One tap: the matrix it multiplies by, and where its inputs start, in elements from those of the first tap.
struct TileTap {
    int64_t matrix;
    int64_t offset;
};

// Positions lie in `lines` lines of `width`. Strides of rows are in elements of their layout.
struct Tile {
    const ggml_tensor * weight;  // F32, F16 or BF16 [out, in, taps]
    std::span<const TileTap> taps;
    const void * rows;  // input row of the first position and of a tap with offset 0
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

// Memory that grows on demand, aligned to cache lines.
template <typename T>
class Scratch {
public:
    T * reserve(int64_t count) {
        if (size_ < count) {
            memory_.reset();
            memory_.reset(static_cast<T *>(::operator new(static_cast<size_t>(count) * sizeof(T), kAlignment)));
            size_ = count;
        }
        return memory_.get();
    }

private:
    static constexpr std::align_val_t kAlignment{64};
    struct Delete {
        void operator()(T * memory) const { ::operator delete(memory, kAlignment); }
    };
    std::unique_ptr<T, Delete> memory_;
    int64_t size_ = 0;
};

// Working memory of one thread.
class TileScratch {
public:
    float * panel(int64_t floats) { return panel_.reserve(floats); }
    float * sums(int64_t floats) { return sums_.reserve(floats); }
    uint16_t * packed(int64_t count) { return packed_.reserve(count); }
    float * row(int64_t floats) { return row_.reserve(floats); }
    std::byte * rows(int64_t bytes) { return rows_.reserve(bytes); }

private:
    Scratch<float> panel_, sums_, row_;
    Scratch<uint16_t> packed_;
    Scratch<std::byte> rows_;
};

// Some positions of a line.
struct TileRun {
    int64_t line;
    int64_t x;
    int64_t width;
};

// Adds bias and residual to the sums of a run, rows of `panel`, and stores channels [first, first + count).
void store_sums(const Tile & tile, const TileRun & run, const float * sums, int64_t panel, int64_t first,
                int64_t count);

// Computes panels [first, last) of the layout's output channels each, from rows of floats. Every result is summed in
// the same order whatever the tile, so how work is divided does not show.
void multiply_tile(const Tile & tile, int64_t first_panel, int64_t last_panel, TileScratch & scratch);

}  // namespace ltx
