// The rotation that spreads single large channels over their group before values are rounded to 8 bits.
#pragma once

#include <cstdint>
#include <span>

struct ggml_tensor;

namespace ltx {

// Columns that are rotated together where nobody says: the usual number of files.
inline constexpr int64_t kRotationGroup = 256;

// What the rows of a weight held as I8, ne [in, out], became integers by.
struct RotatedRows {
    ggml_tensor * scales = nullptr;  // F32 [out]
    int64_t group = 0;               // columns that were rotated together, a power of four that divides `in`
};

// Rotates whole groups of `group` values, a power of four, by the Kronecker power of
//     1/2 [1 1 1 -1; 1 1 -1 1; 1 -1 1 1; -1 1 1 1],
// which is its own inverse. Source: ConvRot (arXiv 2512.03673).
void rotate_groups(int64_t group, std::span<float> values);

}  // namespace ltx
