// Built for AMX, see csrc/CMakeLists.txt; called only where the CPU has it and the operating system allows it.
#include "kernels/gemm/gemm_kernels.h"

#if defined(LTX_GEMM_KERNELS)

#include <immintrin.h>

#include "kernels/amx_tiles.h"

namespace ltx {

namespace {

// Tiles 0 to 3 hold sums, 4 and 5 rows of X, 6 and 7 columns of W: all 16 rows of 64 bytes.
void begin() {
    TileConfig config;
    for (int tile = 0; tile < 8; ++tile) {
        config.row_bytes[tile] = 64;
        config.rows[tile] = 16;
    }
    config.set();
}

// Two tiles of rows, or one, times one panel. Rows are the sum of kParts matrices, `part` elements apart.
template <bool kTwo, int kParts>
inline void multiply_tiles(const PanelProduct & in, int64_t part) {
    const Bf16 * packed = in.packed;
    float * low = in.sums;
    float * high = in.sums + 16 * in.sums_stride;
    const auto sums_bytes = in.sums_stride * static_cast<int64_t>(sizeof(float));
    const auto row_bytes = in.row_stride * static_cast<int64_t>(sizeof(Bf16));
    if (in.add) {
        _tile_loadd(0, low, sums_bytes);
        _tile_loadd(1, low + 16, sums_bytes);
        if constexpr (kTwo) {
            _tile_loadd(2, high, sums_bytes);
            _tile_loadd(3, high + 16, sums_bytes);
        }
    } else {
        _tile_zero(0);
        _tile_zero(1);
        if constexpr (kTwo) {
            _tile_zero(2);
            _tile_zero(3);
        }
    }
    for (int64_t s = 0; s < in.count; ++s) {
        const Bf16 * x = in.segments[s].x + in.shift;
        for (const Bf16 * stop = x + in.segments[s].depth; x < stop; x += kGemmDepth, packed += 2 * kTileElements) {
#pragma GCC unroll 3
            for (int p = 0; p < kParts; ++p) {
                _tile_loadd(4, x + p * part, row_bytes);
                if (p == 0) {
                    _tile_loadd(6, packed, 64);
                    _tile_loadd(7, packed + kTileElements, 64);
                }
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                if constexpr (kTwo) {
                    _tile_loadd(5, x + p * part + 16 * in.row_stride, row_bytes);
                    _tile_dpbf16ps(2, 5, 6);
                    _tile_dpbf16ps(3, 5, 7);
                }
            }
        }
    }
    _tile_stored(0, low, sums_bytes);
    _tile_stored(1, low + 16, sums_bytes);
    if constexpr (kTwo) {
        _tile_stored(2, high, sums_bytes);
        _tile_stored(3, high + 16, sums_bytes);
    }
}

void multiply_panel(const PanelProduct & in) {
    if (in.rows > 16) {
        multiply_tiles<true, 1>(in, 0);
    } else {
        multiply_tiles<false, 1>(in, 0);
    }
}

// Two tiles of rows times three of columns, over the whole depth of one segment. Tiles 0 to 5 hold sums, 6 columns of
// W, 7 rows of X. Six products for five tiles that come from the second-level cache; two by two would be four for four.
void multiply_wide(const GemmBlock & block, int64_t first) {
    const GemmSegment & segment = block.segments.front();
    const Bf16 * x = segment.x + block.shift;
    const auto tile_at = [&](int64_t tile) {
        return block.packed + tile / 2 * segment.depth * kGemmCols + tile % 2 * kTileElements;
    };
    const Bf16 * left = tile_at(first);
    const Bf16 * middle = tile_at(first + 1);
    const Bf16 * right = tile_at(first + 2);
    float * low = block.sums + first * 16;
    float * high = low + 16 * block.sums_stride;
    const auto sums_bytes = block.sums_stride * static_cast<int64_t>(sizeof(float));
    const auto row_bytes = block.row_stride * static_cast<int64_t>(sizeof(Bf16));
    if (block.add) {
        _tile_loadd(0, low, sums_bytes);
        _tile_loadd(1, high, sums_bytes);
        _tile_loadd(2, low + 16, sums_bytes);
        _tile_loadd(3, high + 16, sums_bytes);
        _tile_loadd(4, low + 32, sums_bytes);
        _tile_loadd(5, high + 32, sums_bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        _tile_zero(4);
        _tile_zero(5);
    }
    const Bf16 * below = x + 16 * block.row_stride;
    for (const Bf16 * stop = x + segment.depth; x < stop; x += kGemmDepth, below += kGemmDepth) {
        _tile_loadd(6, left, 64);
        _tile_loadd(7, x, row_bytes);
        _tile_dpbf16ps(0, 7, 6);
        _tile_loadd(7, below, row_bytes);
        _tile_dpbf16ps(1, 7, 6);
        _tile_loadd(6, middle, 64);
        _tile_dpbf16ps(3, 7, 6);
        _tile_loadd(7, x, row_bytes);
        _tile_dpbf16ps(2, 7, 6);
        _tile_loadd(6, right, 64);
        _tile_dpbf16ps(4, 7, 6);
        _tile_loadd(7, below, row_bytes);
        _tile_dpbf16ps(5, 7, 6);
        left += 2 * kTileElements;
        middle += 2 * kTileElements;
        right += 2 * kTileElements;
    }
    _tile_stored(0, low, sums_bytes);
    _tile_stored(1, high, sums_bytes);
    _tile_stored(2, low + 16, sums_bytes);
    _tile_stored(3, high + 16, sums_bytes);
    _tile_stored(4, low + 32, sums_bytes);
    _tile_stored(5, high + 32, sums_bytes);
}

// The six tiles of three panels at a time, and then single panels.
void multiply_deep(const GemmBlock & block) {
    int64_t col = 0;
    for (; col + 2 * kGemmCols < block.cols; col += 3 * kGemmCols) {
        multiply_wide(block, col / 16);
        multiply_wide(block, col / 16 + 3);
    }
    for (; col < block.cols; col += kGemmCols) {
        multiply_panel(PanelProduct{block.segments.data(), 1, block.row_stride, block.rows,
                                    block.packed + col * block.segments.front().depth, block.sums + col,
                                    block.sums_stride, block.add, block.shift});
    }
}

// Tiles read 16 rows. A block with fewer is copied, so that nothing past the last one is touched.
void multiply_rest(const GemmBlock & block) {
    alignas(64) static thread_local Bf16 rows[kGemmRows * (kCachedDepth + kGemmDepth)];
    constexpr int64_t kStride = kCachedDepth + kGemmDepth;  // no multiple of 4096 bytes
    multiply_in_groups(
        block, [](const PanelProduct & in) { multiply_panel(in); },
        [&](GemmSegment * group, int64_t count) {
            Bf16 * out = rows;
            for (int64_t s = 0; s < count; ++s) {
                for (int64_t r = 0; r < block.rows; ++r) {
                    __builtin_memcpy(out + r * kStride, group[s].x + r * block.row_stride,
                                     static_cast<size_t>(group[s].depth) * sizeof(Bf16));
                }
                group[s].x = out;
                out += group[s].depth;
            }
            return kStride;
        });
}

void multiply(const GemmBlock & block) {
    if (block.rows % 16 == 0 && block.cols <= kGemmCols) {
        multiply_in_one(block, &multiply_panel);
    } else if (block.rows == kGemmRows && block.segments.size() == 1 && block.segments.front().depth > kCachedDepth) {
        multiply_deep(block);
    } else if (block.rows % 16 == 0) {
        multiply_in_groups(block, &multiply_panel, [&](GemmSegment *, int64_t) { return block.row_stride; });
    } else {
        multiply_rest(block);
    }
}

void multiply_parts(const GemmBlock & block, int64_t part) {
    multiply_in_one(block, [part](const PanelProduct & in) {
        if (in.rows > 16) {
            multiply_tiles<true, kGemmParts>(in, part);
        } else {
            multiply_tiles<false, kGemmParts>(in, part);
        }
    });
}

}  // namespace

const GemmKernel kGemmAmx{"amx_bf16", {192, 2048},     true,   &pack_columns_avx512, &pack_rows_avx512,
                          &multiply,  &multiply_parts, &begin, &TileConfig::release};

}  // namespace ltx

#endif
