// ggml's matrix product with rows that its types cannot hold: none overflows, and none that is not finite looks finite.
#pragma once

#include <limits>

#include "kernels/custom.h"

namespace ltx {

// weight: [in, out] of any type; x: F32 [in, tokens] -> F32 [out, tokens].
//
// ggml multiplies F16 and quantised weights by rows that it rounds to a type of its own: F16 ends at 65504, a block of
// 32 values with an F16 scale at 8e6, and rounding to 8 bits makes an ordinary number of NaN. Here a row of x that
// passes the limit is divided by a power of two first and its result multiplied by that; a row that is not finite gives
// NaN throughout. On a CPU both happen while ggml's own rounding would, at the cost of one look at each row.
ggml_tensor * stock_product(Graph & graph, ggml_tensor * weight, ggml_tensor * x);

// Where a type of rounded rows ends, in units of the largest value of a row.
inline float largest_of_row(ggml_type type) {
    constexpr float kLargestHalf = 65504.0f;
    switch (type) {
        case GGML_TYPE_F16:
            return kLargestHalf;
        case GGML_TYPE_Q8_0:
            return 127.0f * kLargestHalf;
        case GGML_TYPE_Q8_1:
            return kLargestHalf / 32.0f;  // it holds the sum of 32 values as F16
        default:
            return std::numeric_limits<float>::max();
    }
}

// Source: x, F32 [in, tokens], rows may lie apart -> rows of another type, and behind the last of them the factor of
// each row as F32: 1, the power of two by which it was divided, or NaN.
void fit_rows_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

// Sources: the product, in which rows change in place, and what fit_rows gave.
void rescale_rows_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
