// y = W x and what follows it, in 8-bit integers, for weights whose rows were rotated and rounded.
//
// Rows of x are rotated by the same groups and rounded to 8 bits by the largest value of each; sums are exact, and the
// two scales make values of them: y = s_x s_w sum(q_x q_w). Source: ConvRot (arXiv 2512.03673). On a CPU and, where it
// is switched on, on CUDA (on_cuda.h); other devices hold such weights in 16 bits.
#pragma once

#include "kernels/rotation.h"
#include "ops/linear/linear.h"

namespace ltx {

// x: F32 or BF16 [in, tokens] -> F32 [out, tokens], or BF16 where the consumers are products.
// A row of x with a value that is not finite gives rows of NaN. Throws ShapeError.
ggml_tensor * int8_linear(Graph & graph, ggml_tensor * weight, const RotatedRows & rotated, ggml_tensor * x,
                          const LinearEpilogue & epilogue = {});

struct Int8RowsConstants {
    int64_t group;
};

// x: F32 or BF16 [in, tokens] -> I8 [in + kInt8Tail, tokens]: the integers of a row and, behind them, its scale as F32;
// the rest of the tail is anything. One node for all products of x. Throws ShapeError.
ggml_tensor * int8_rows(Graph & graph, ggml_tensor * x, int64_t group);

// Source: x. Constants: Int8RowsConstants.
void int8_rows_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

// Keeps rows aligned. Nine cache lines more than a power of two: a part of 32 rows then lies evenly over the sets of
// the first-level cache.
inline constexpr int64_t kInt8Tail = 576;

// Sources: weight, integers of x, scales of the weight, then as those of linear. Constants: LinearConstants.
void int8_linear_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
