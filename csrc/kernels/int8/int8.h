// Products of 8-bit integers with exact 32-bit sums: the core of linear layers whose weights are held in rotated rows.
//
// sums(rows, cols) = X(rows, depth) W(cols, depth)^T. Columns are packed once, in the way of a kernel, into panels that
// stay in the second-level cache and meet many rows; rows are read where they lie, a block at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace ltx {

inline constexpr int64_t kInt8Cols = 32;        // columns come in panels of this many
inline constexpr int64_t kInt8Rows = 48;        // most rows of one multiply
inline constexpr int64_t kInt8MaxDepth = 4096;  // most depth of one multiply
inline constexpr int64_t kInt8RowStep = 16;     // sums have room for rows up to a multiple of this
// Some kernels widen to 16 bits.
inline constexpr int64_t kInt8PackedBytes = 2;  // of a number of a whole panel, at most
// Of rows that are widened, or too few for matrix registers.
inline constexpr int64_t kInt8ScratchBytes = kInt8Rows * 1024 * 2;

// Rounds values to integers of -127 to 127 and returns the scale that makes values of them; NaN, and zeros, where a
// value is not finite.
float round_to_int8(const float * values, int64_t count, int8_t * integers);

// All that is written is aligned to 64 bytes.
struct Int8Block {
    const int8_t * x;  // rows `row_stride` bytes apart
    int64_t row_stride;
    int64_t rows;  // 1 to kInt8Rows
    const std::byte * packed;
    int64_t cols;
    int64_t depth;  // a multiple of the kernel's step, at most that of its panel
    // [rows][sums_stride]; rows up to a whole kInt8RowStep and columns up to a whole panel get any values.
    int32_t * sums;
    int64_t sums_stride;  // in elements, a multiple of 16 and no less than the columns of whole panels
    bool add;             // to what the sums hold
    std::byte * scratch;  // kInt8ScratchBytes
};

struct Int8Panel {
    int64_t cols;   // at most kFinishedColumns (ops/linear/finish.h)
    int64_t depth;  // at most kInt8MaxDepth
};

inline constexpr Int8Panel kInt8Panel{128, 1024};

struct Int8Kernel {
    std::string_view name;
    int64_t step;  // depths are multiples of this
    int64_t rows;  // of a block, whose part of the depth stays in the first-level cache; at most kInt8Rows
    // Of columns that are packed at a time, to stay in the second-level cache.
    Int8Panel panel;
    // Packs `depth` numbers of `cols` columns, `stride` bytes apart. `packed` has room for whole panels.
    void (*pack)(const int8_t * weights, int64_t stride, int64_t cols, int64_t depth, std::byte * packed);
    void (*multiply)(const Int8Block & block);
    // Prepare a thread and release it; null where nothing is to do.
    void (*begin)();
    void (*end)();
};

// All that this CPU has the instructions for, best first; the last is plain C++.
std::span<const Int8Kernel * const> int8_kernels();

// The best for this depth of those whose sums are right.
const Int8Kernel & int8_kernel(int64_t depth);

// Holds what a kernel needs of a thread.
class Int8Scope {
public:
    explicit Int8Scope(const Int8Kernel & kernel) : kernel_(kernel) {
        if (kernel_.begin) {
            kernel_.begin();
        }
    }
    ~Int8Scope() {
        if (kernel_.end) {
            kernel_.end();
        }
    }
    Int8Scope(const Int8Scope &) = delete;
    Int8Scope & operator=(const Int8Scope &) = delete;

private:
    const Int8Kernel & kernel_;
};

}  // namespace ltx
