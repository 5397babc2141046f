// Products of BF16 matrices where there are no instructions for them: the numbers are widened to float32, which holds
// their products exactly. Compiled once per instruction set by the sources that include this.
//
// Those sources are built for more than the package's baseline, so nothing in here may be shared with other sources:
// only templates and functions of internal linkage, and nothing of the standard library but types.
#pragma once

#include "kernels/gemm/gemm.h"

namespace ltx {

namespace {

// A word of a packed panel holds columns c and c + 16, in its lower and upper half: a shift and a mask widen both.
constexpr int64_t kPanelWords = kGemmCols / 2;
// The depth that is multiplied while sums stay in registers: the rows of it, widened, fit the second-level cache, and
// their memory the stack of a small thread.
constexpr int64_t kWidenedDepth = 256;
// Rows do not lie a multiple of 4096 bytes apart.
constexpr int64_t kWidenedStride = kWidenedDepth + 16;

struct WidePanel {
    const float * x;          // rows kWidenedStride apart
    const uint32_t * packed;  // [depth][kPanelWords]
    int64_t depth;
    float * sums;
    int64_t sums_stride;
    bool add;
};

// kRows rows times the columns of kVectors vectors of words, from `word` on.
template <int kLanes, int kVectors, int kRows>
inline void multiply_wide_rows(const WidePanel & in, int64_t row, int64_t word) {
    using Words [[gnu::vector_size(kLanes * sizeof(uint32_t)), gnu::aligned(alignof(float)), gnu::may_alias]] =
        uint32_t;
    using Floats [[gnu::vector_size(kLanes * sizeof(float)), gnu::aligned(alignof(float)), gnu::may_alias]] = float;
    const float * x = in.x + row * kWidenedStride;
    const uint32_t * packed = in.packed + word;
    Floats low[kRows][kVectors] = {};
    Floats high[kRows][kVectors] = {};
    for (int64_t k = 0; k < in.depth; ++k, packed += kPanelWords) {
        Floats w_low[kVectors];
        Floats w_high[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
            const Words words = *reinterpret_cast<const Words *>(packed + v * kLanes);
            w_low[v] = reinterpret_cast<Floats>(words << 16);
            w_high[v] = reinterpret_cast<Floats>(words & 0xffff0000u);
        }
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
            const float value = x[r * kWidenedStride + k];
#pragma GCC unroll 4
            for (int v = 0; v < kVectors; ++v) {
                low[r][v] += w_low[v] * value;
                high[r][v] += w_high[v] * value;
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
            float * sums = in.sums + (row + r) * in.sums_stride + word + v * kLanes;
            Floats & first = *reinterpret_cast<Floats *>(sums);
            Floats & second = *reinterpret_cast<Floats *>(sums + kPanelWords);
            first = in.add ? first + low[r][v] : low[r][v];
            second = in.add ? second + high[r][v] : high[r][v];
        }
    }
}

template <int kLanes, int kVectors, int kRows>
inline void multiply_wide_panel(const WidePanel & in, int64_t rows) {
    for (int64_t word = 0; word < kPanelWords; word += kLanes * kVectors) {
        int64_t row = 0;
        for (; row + kRows <= rows; row += kRows) {
            multiply_wide_rows<kLanes, kVectors, kRows>(in, row, word);
        }
        for (; row + 2 <= rows; row += 2) {
            multiply_wide_rows<kLanes, kVectors, 2>(in, row, word);
        }
        for (; row < rows; ++row) {
            multiply_wide_rows<kLanes, kVectors, 1>(in, row, word);
        }
    }
}

// Numbers of some rows, widened.
inline void widen_rows(const Bf16 * from, int64_t stride, int64_t rows, int64_t count, float * to) {
    using Bits [[gnu::may_alias]] = uint32_t;
    for (int64_t row = 0; row < rows; ++row) {
        auto * bits = reinterpret_cast<Bits *>(to + row * kWidenedStride);
        for (int64_t i = 0; i < count; ++i) {
            bits[i] = static_cast<uint32_t>(from[row * stride + i]) << 16;
        }
    }
}

template <int kLanes, int kVectors, int kRows>
void multiply_widened(const GemmBlock & block) {
    alignas(64) float x[kGemmRows * kWidenedStride];
    int64_t total = 0;
    for (const GemmSegment & segment : block.segments) {
        total += segment.depth;
    }
    size_t next = 0;
    int64_t taken = 0;  // of segment `next`
    for (int64_t done = 0; done < total;) {
        int64_t depth = 0;
        while (next < block.segments.size() && depth < kWidenedDepth) {
            const GemmSegment & segment = block.segments[next];
            const int64_t left = segment.depth - taken;
            const int64_t take = left < kWidenedDepth - depth ? left : kWidenedDepth - depth;
            widen_rows(segment.x + block.shift + taken, block.row_stride, block.rows, take, x + depth);
            depth += take;
            taken = take == left ? 0 : taken + take;
            next += take == left;
        }
        for (int64_t col = 0; col < block.cols; col += kGemmCols) {
            const auto * packed = reinterpret_cast<const uint32_t *>(block.packed + col * total + done * kGemmCols);
            const WidePanel panel{x, packed, depth, block.sums + col, block.sums_stride, block.add || done > 0};
            multiply_wide_panel<kLanes, kVectors, kRows>(panel, block.rows);
        }
        done += depth;
    }
}

inline void pack_words(const Bf16 * weights, int64_t stride, int64_t cols, int64_t depth, const PackedPlace & place) {
    using Word [[gnu::may_alias]] = uint32_t;
    for (int64_t col = 0; col < cols; col += kGemmCols) {
        auto * panel = reinterpret_cast<Word *>(place.packed + col * place.depth + place.first * kGemmCols);
        for (int64_t c = 0; c < kPanelWords; ++c) {
            const Bf16 * low = weights + (col + c) * stride;
            const Bf16 * high = low + kPanelWords * stride;
            const bool has_low = col + c < cols;
            const bool has_high = col + c + kPanelWords < cols;
            for (int64_t k = 0; k < depth; ++k) {
                panel[k * kPanelWords + c] = (has_low ? low[k] : 0u) | (has_high ? uint32_t{high[k]} << 16 : 0u);
            }
        }
    }
}

inline void nothing_to_hold() {}

// A kernel whose sums take 2 * kVectors * kRows registers of kLanes floats. Attention is not computed with it, so that
// transposed columns are not packed.
template <int kLanes, int kVectors, int kRows>
constexpr GemmKernel widening_kernel(std::string_view name) {
    return {.name = name,
            .panel = kGemmPanel,
            .outruns_float = false,
            .pack = &pack_words,
            .pack_transposed = nullptr,
            .multiply = &multiply_widened<kLanes, kVectors, kRows>,
            .multiply_parts = nullptr,
            .begin = &nothing_to_hold,
            .end = &nothing_to_hold};
}

}  // namespace

}  // namespace ltx
