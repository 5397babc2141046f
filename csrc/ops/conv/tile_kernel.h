// The inner loops of the convolutions, compiled once per instruction set by the sources that include this.
//
// Those sources are built for more than the package's baseline, so nothing in here may be shared with other sources:
// only templates of internal linkage, and nothing of the standard library but types.
#pragma once

#include <cstdint>

namespace ltx {

// Positions of one line times some rows of one panel of output channels.
struct BlockInputs {
    const float * panel;
    const int64_t * offsets;
    int64_t taps;
    int64_t depth;
    const float * rows;
    int64_t step;
    float * sums;  // a panel per position
    bool first;    // nothing has been summed yet
};

// An instruction set's form of the loops.
struct TileKernel {
    int64_t panel;  // output channels that are computed together; the panel's rows and sums are this far apart
    int64_t block;  // positions that are; tiles are best multiples of it
    // All `width` positions of a line; `narrow`: the panel's second half is empty and left alone.
    void (*multiply)(const BlockInputs & in, int64_t width, bool narrow);
};

// The best form that this CPU runs.
const TileKernel & tile_kernel();

#if defined(__x86_64__)
extern const TileKernel kTileAvx2;
extern const TileKernel kTileAvx512;
#endif

namespace {

// kRows positions times kVectors vectors of output channels, all sums in registers.
template <int kLanes, int kRows, int kVectors>
inline void multiply_block(const BlockInputs & in, int64_t position) {
    using Vector [[gnu::vector_size(kLanes * sizeof(float)), gnu::aligned(alignof(float)), gnu::may_alias]] = float;
    constexpr int kPanel = 2 * kLanes;
    const float * rows = in.rows + position * in.step;
    float * sums = in.sums + position * kPanel;
    const float * panel = in.panel;
    const int64_t step = in.step;
    Vector sum[kRows][kVectors];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
            sum[r][v] = in.first ? Vector{} : *reinterpret_cast<const Vector *>(sums + r * kPanel + v * kLanes);
        }
    }
    for (int64_t tap = 0; tap < in.taps; ++tap) {
        const float * x = rows + in.offsets[tap];
        for (int64_t i = 0; i < in.depth; ++i, ++x, panel += kPanel) {
            Vector w[kVectors];
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                w[v] = *reinterpret_cast<const Vector *>(panel + v * kLanes);
            }
#pragma GCC unroll 16
            for (int r = 0; r < kRows; ++r) {
                const float value = x[r * step];
#pragma GCC unroll 2
                for (int v = 0; v < kVectors; ++v) {
                    sum[r][v] += w[v] * value;
                }
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
            *reinterpret_cast<Vector *>(sums + r * kPanel + v * kLanes) = sum[r][v];
        }
    }
}

template <int kLanes, int kRows, int kVectors>
inline void multiply_line(const BlockInputs & in, int64_t width) {
    int64_t position = 0;
    for (; position + kRows <= width; position += kRows) {
        multiply_block<kLanes, kRows, kVectors>(in, position);
    }
    for (; position + 4 <= width; position += 4) {
        multiply_block<kLanes, 4, kVectors>(in, position);
    }
    for (; position < width; ++position) {
        multiply_block<kLanes, 1, kVectors>(in, position);
    }
}

template <int kLanes, int kRows>
void multiply_any(const BlockInputs & in, int64_t width, bool narrow) {
    if (narrow) {
        multiply_line<kLanes, kRows, 1>(in, width);
    } else {
        multiply_line<kLanes, kRows, 2>(in, width);
    }
}

}  // namespace

}  // namespace ltx
