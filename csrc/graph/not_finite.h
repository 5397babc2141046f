// Keeps NaN and infinity visible behind stock operations that turn them into ordinary numbers. Where a phase ends,
// somebody looks for them, and what was hidden on the way would be a wrong clip.
#pragma once

#include "ggml.h"

namespace ltx {

// `y` where `x`, of the same shape, is finite; NaN elsewhere.
inline ggml_tensor * where_finite(ggml_context * ctx, ggml_tensor * y, ggml_tensor * x) {
    return ggml_add(ctx, y, ggml_sub(ctx, x, x));
}

// 0 for each row of `x` that is finite, NaN for the others: [n, rows...] -> [1, rows...]. A sum of finite values that
// overflows counts as one that is not.
inline ggml_tensor * row_flags(ggml_context * ctx, ggml_tensor * x) {
    ggml_tensor * sums = ggml_sum_rows(ctx, x);
    return ggml_sub(ctx, sums, sums);
}

// x bounded from both sides; NaN where it is not finite.
inline ggml_tensor * clamp_finite(ggml_context * ctx, ggml_tensor * x, float low, float high) {
    // ggml clamps in place, so it gets a copy.
    return where_finite(ctx, ggml_clamp(ctx, ggml_scale(ctx, x, 1.0f), low, high), x);
}

}  // namespace ltx
