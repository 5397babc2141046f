// Products of BF16 matrices with F32 sums on the CPU's matrix instructions, or by its float32 ones where it has none:
// the core of linear layers, attention and convolutions. What is large is blocked by the callers; here a block of rows
// meets a packed panel of columns.
//
// sums(rows, cols) = X(rows, depth) W(cols, depth)^T, where
// - X is read where it lies: BF16, elements of a row contiguous, rows a constant number of elements apart. A whole
//   row-major matrix, a window of one, or channels-last positions of a picture all fit. Depths are multiples of 32:
//   pad with zeros. Row strides that are a multiple of 4096 bytes fight for the same cache lines; make rows that are
//   laid out for this 64 bytes longer.
// - W is packed once into panels that stay in the second-level cache and meet many rows (kPackedBytes is a good size).
// - X may come in segments: pieces of the depth that start at different addresses. A convolution is one product whose
//   segments are its taps: x points at the first position as the tap sees it, and the columns packed for segment s lie
//   in the panel after those of the segments before it.
//
// On one thread, for up to kPackedBytes of packed columns:
//     const GemmKernel * kernel = gemm_kernel();         // null: this CPU has no such instructions
//     const GemmScope scope(*kernel);                    // on each thread that multiplies
//     for (tap...) kernel->pack(weights of the tap, stride, cols, depth, {packed, total_depth, tap * depth});
//     for (blocks of kGemmRows rows...) kernel->multiply({...});  // then read the sums while they are warm
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace ltx {

using Bf16 = uint16_t;  // the upper half of a float

inline constexpr int64_t kGemmRows = 32;   // most rows of one multiply
inline constexpr int64_t kGemmCols = 32;   // columns come in panels of this many
inline constexpr int64_t kGemmDepth = 32;  // depths are multiples of this
inline constexpr int64_t kGemmParts = 3;   // BF16 numbers that add up to a float
inline constexpr int64_t kPackedBytes = 1 << 20;

inline constexpr int64_t round_up(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

// Packed columns: for each panel of kGemmCols columns `depth` values each, round_up(cols, kGemmCols) * depth in all,
// aligned to 64 bytes. Columns past the last are zero.
struct PackedPlace {
    Bf16 * packed;
    int64_t depth;      // of all segments
    int64_t first = 0;  // where in the depth to pack
};

struct GemmSegment {
    const Bf16 * x;  // the block's first row
    int64_t depth;
};

struct GemmBlock {
    std::span<const GemmSegment> segments;
    int64_t row_stride;  // of X, in elements
    int64_t rows;        // 1 to kGemmRows
    const Bf16 * packed;
    int64_t cols;
    float * sums;  // [kGemmRows][sums_stride], aligned to 64 bytes; rows and columns past the last get any values
    int64_t sums_stride;  // in elements, at least round_up(cols, kGemmCols)
    bool add;             // to what the sums hold
    int64_t shift = 0;    // added to where all segments start, in elements
};

// Columns of a linear layer's weight that are packed at a time, and stay in the second-level cache while all rows pass
// by. More columns read the rows less often, more depth stores fewer partial sums.
struct GemmPanel {
    int64_t cols;  // at most kFinishedColumns (ops/linear/finish.h)
    int64_t depth;
};

inline constexpr GemmPanel kGemmPanel{256, kPackedBytes / 2 / 256};

struct GemmKernel {
    std::string_view name;
    GemmPanel panel;
    // Three products take less time than one of float32 on the same CPU.
    bool outruns_float;
    // Packs `depth` values of `cols` columns of W, `stride` elements apart.
    void (*pack)(const Bf16 * weights, int64_t stride, int64_t cols, int64_t depth, const PackedPlace & place);
    // The same for W^T: `depth` rows of `cols` values, `stride` elements apart. Any depth; zeros up to the multiple.
    void (*pack_transposed)(const Bf16 * weights, int64_t stride, int64_t cols, int64_t depth,
                            const PackedPlace & place);
    void (*multiply)(const GemmBlock & block);
    // The same for X that is the sum of kGemmParts matrices, `part` elements apart, in blocks of a multiple of 16 rows
    // and one panel: columns are read once for all parts. Null where it would not outrun float32.
    void (*multiply_parts)(const GemmBlock & block, int64_t part);
    // Prepare a thread and release it.
    void (*begin)();
    void (*end)();
};

// The best kernel of this CPU; null without BF16 instructions (then most products are ggml's).
const GemmKernel * gemm_kernel();

// From here on gemm_kernel() is this one: lets tests run what the CPU's best one hides.
void choose_gemm_kernel(const GemmKernel & kernel);

// All that this CPU runs, best first.
std::span<const GemmKernel * const> gemm_kernels();

// Those that multiply the numbers in float32, best first: on every CPU there is one. They have no pack_transposed.
std::span<const GemmKernel * const> float_kernels();

// Holds the matrix registers of a thread.
class GemmScope {
public:
    explicit GemmScope(const GemmKernel & kernel) : kernel_(kernel) { kernel_.begin(); }
    ~GemmScope() { kernel_.end(); }
    GemmScope(const GemmScope &) = delete;
    GemmScope & operator=(const GemmScope &) = delete;

private:
    const GemmKernel & kernel_;
};

// Elements between rows of BF16 that products will read: `width`, more where rows would be a multiple of 4096 bytes
// apart: nine cache lines, by which a part of kGemmRows rows lies evenly over the sets of the first-level cache.
inline constexpr int64_t product_row_stride(int64_t width) {
    constexpr int64_t kAliasing = 2048;
    return width % kAliasing == 0 ? width + 9 * kGemmDepth : width;
}

// Rounds to nearest, ties to even.
void to_bf16(const float * values, Bf16 * rounded, int64_t count);

}  // namespace ltx
