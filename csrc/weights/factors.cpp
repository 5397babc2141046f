#include "weights/factors.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/simd.h"
#include "weights/pack.h"

namespace ltx {

namespace {

// Rows of one step of the product below; with kLanes columns they fill half of AVX2's registers.
constexpr int64_t kTileRows = 4;

// rows[i][c] += sum over k of up[i][k] * down[k][c], for `count` rows, a multiple of kTileRows. Columns come outermost,
// so that a strip of `down` is read from memory once for all rows. One array per row: gcc keeps a two-dimensional one
// in memory, which is 14 times slower.
LTX_TARGET_CLONES void add_whole_tiles(const float * up, const float * down, int64_t rank, int64_t in, int64_t count,
                                       float * rows) {
    const int64_t whole = in - in % kLanes;
    for (int64_t column = 0; column < whole; column += kLanes) {
        for (int64_t row = 0; row < count; row += kTileRows) {
            const float * factors = up + row * rank;
            float sum_0[kLanes] = {};
            float sum_1[kLanes] = {};
            float sum_2[kLanes] = {};
            float sum_3[kLanes] = {};
            for (int64_t k = 0; k < rank; ++k) {
                const float * values = down + k * in + column;
                const float factor_0 = factors[k];
                const float factor_1 = factors[rank + k];
                const float factor_2 = factors[2 * rank + k];
                const float factor_3 = factors[3 * rank + k];
                for (int64_t c = 0; c < kLanes; ++c) {
                    sum_0[c] += factor_0 * values[c];
                    sum_1[c] += factor_1 * values[c];
                    sum_2[c] += factor_2 * values[c];
                    sum_3[c] += factor_3 * values[c];
                }
            }
            float * out = rows + row * in + column;
            for (int64_t c = 0; c < kLanes; ++c) {
                out[c] += sum_0[c];
                out[in + c] += sum_1[c];
                out[2 * in + c] += sum_2[c];
                out[3 * in + c] += sum_3[c];
            }
        }
    }
    for (int64_t row = 0; row < count; ++row) {
        for (int64_t column = whole; column < in; ++column) {
            float sum = 0.0f;
            for (int64_t k = 0; k < rank; ++k) {
                sum += up[row * rank + k] * down[k * in + column];
            }
            rows[row * in + column] += sum;
        }
    }
}

}  // namespace

void add_product(const float * left, const float * right, int64_t inner, int64_t columns, int64_t count, float * rows) {
    const int64_t whole = count - count % kTileRows;
    add_whole_tiles(left, right, inner, columns, whole, rows);
    if (whole == count) {
        return;
    }
    std::vector<float> left_rest(static_cast<size_t>(kTileRows * inner));
    std::vector<float> rest(static_cast<size_t>(kTileRows * columns));
    std::copy(left + whole * inner, left + count * inner, left_rest.data());
    std::copy(rows + whole * columns, rows + count * columns, rest.data());
    add_whole_tiles(left_rest.data(), right, inner, columns, kTileRows, rest.data());
    std::copy(rest.data(), rest.data() + (count - whole) * columns, rows + whole * columns);
}

std::vector<float> decode_factor(const std::string & weight, const TensorSource & source, int threads) {
    source.file->check_unchanged();
    const auto stored = source.file->view(source.offset, source.size_bytes);
    const int64_t width = source.shape[1];
    std::vector<float> values(static_cast<size_t>(element_count(source.shape)));
    parallel_for(source.shape[0], threads, [&](int64_t begin, int64_t end) {
        const std::span<float> part(values.data() + begin * width, static_cast<size_t>((end - begin) * width));
        to_float(source.dtype, stored, begin * width, part.data(), static_cast<int64_t>(part.size()));
        if (!std::ranges::all_of(part, [](float v) { return std::isfinite(v); })) {
            throw CheckpointError(source.file->path(), ": the LoRA of '", weight,
                                  "' holds a value that is not finite; the file is damaged");
        }
    });
    source.file->check_unchanged();
    return values;
}

}  // namespace ltx
