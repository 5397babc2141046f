// The kernels per instruction set. Their sources are built for more than the package's baseline, so nothing in here may
// be shared with other sources: only templates and functions of internal linkage.
#pragma once

#include "kernels/gemm/gemm.h"

namespace ltx {

// Without BF16 instructions (float_kernel.h).
extern const GemmKernel kGemmPlain;
#if defined(__x86_64__)
extern const GemmKernel kGemmAvx2;
extern const GemmKernel kGemmAvx512f;
#endif

}  // namespace ltx

#if defined(LTX_GEMM_KERNELS)

namespace ltx {

extern const GemmKernel kGemmAmx;
extern const GemmKernel kGemmAvx512;

void pack_columns_avx512(const Bf16 * weights, int64_t stride, int64_t cols, int64_t depth, const PackedPlace & place);
void pack_rows_avx512(const Bf16 * weights, int64_t stride, int64_t cols, int64_t depth, const PackedPlace & place);

namespace {

// The depth that is multiplied while the sums stay in registers: a block of rows of it stays in the first-level cache
// while the panels of columns pass by.
constexpr int64_t kCachedDepth = 512;
constexpr int64_t kTileElements = 512;  // 16 columns times 32 values

// One panel of columns times some segments.
struct PanelProduct {
    const GemmSegment * segments;
    int64_t count;
    int64_t row_stride;
    int64_t rows;
    const Bf16 * packed;
    float * sums;
    int64_t sums_stride;
    bool add;
    int64_t shift;  // of the segments, in elements
};

// A single panel passes by once, so nothing is gained by groups.
template <typename MultiplyPanel>
inline void multiply_in_one(const GemmBlock & block, MultiplyPanel multiply_panel) {
    multiply_panel(PanelProduct{block.segments.data(), static_cast<int64_t>(block.segments.size()), block.row_stride,
                                block.rows, block.packed, block.sums, block.sums_stride, block.add, block.shift});
}

// Calls multiply_panel for every panel and every kCachedDepth of the depth. `place_rows` may move the rows of a group
// and returns their stride.
template <typename MultiplyPanel, typename PlaceRows>
inline void multiply_in_groups(const GemmBlock & block, MultiplyPanel multiply_panel, PlaceRows place_rows) {
    int64_t total = 0;
    for (const GemmSegment & segment : block.segments) {
        total += segment.depth;
    }
    GemmSegment group[kCachedDepth / kGemmDepth];
    bool add = block.add;
    int64_t done = 0;
    size_t next = 0;
    int64_t taken = 0;  // of segment `next`
    while (done < total) {
        int64_t count = 0;
        int64_t depth = 0;
        while (next < block.segments.size() && depth < kCachedDepth) {
            const GemmSegment & segment = block.segments[next];
            const int64_t left = segment.depth - taken;
            const int64_t take = left < kCachedDepth - depth ? left : kCachedDepth - depth;
            group[count++] = {segment.x + block.shift + taken, take};
            depth += take;
            taken = take == left ? 0 : taken + take;
            next += take == left;
        }
        const int64_t row_stride = place_rows(group, count);
        for (int64_t col = 0; col < block.cols; col += kGemmCols) {
            multiply_panel(PanelProduct{group, count, row_stride, block.rows,
                                        block.packed + col * total + done * kGemmCols, block.sums + col,
                                        block.sums_stride, add, 0});
        }
        add = true;
        done += depth;
    }
}

}  // namespace

}  // namespace ltx

#endif
