#include "weights/low_rank.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "ggml-backend.h"
#include "kernels/simd.h"
#include "weights/pack.h"

namespace ltx {

namespace {

// Rows of one step of the product below; with kLanes columns they fill half of AVX2's registers.
constexpr int64_t kTileRows = 4;

// rows[i][c] += sum over k of up[i][k] * down[k][c], for `count` rows, a multiple of kTileRows. Columns come outermost,
// so that a strip of `down` is read from memory once for all rows. One array per row: gcc keeps a two-dimensional one
// in memory, which is 14 times slower.
LTX_TARGET_CLONES void add_product(const float * up, const float * down, int64_t rank, int64_t in, int64_t count,
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

// Decodes a factor whole and refuses infinities, which would spread to every value of the result.
std::vector<float> decode(const std::string & weight, const TensorSource & source, int threads) {
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
    return values;
}

void encode(const std::vector<float> & values, ggml_tensor * tensor) {
    std::vector<std::byte> encoded(ggml_nbytes(tensor));
    from_float(tensor->type, values.data(), tensor->ne[1], tensor->ne[0], encoded.data());
    ggml_backend_tensor_set(tensor, encoded.data(), 0, encoded.size());
}

}  // namespace

bool runs_beside(LowRankMode mode, std::optional<ggml_type> held) {
    switch (mode) {
        case LowRankMode::Merge:
            return false;
        case LowRankMode::RunTime:
            return true;
        case LowRankMode::Auto:
            return held && ggml_is_quantized(*held) && *held != GGML_TYPE_Q8_0;
    }
    throw Error("unknown low-rank mode");
}

int64_t total_rank(std::span<const LowRankSource> sources) {
    return std::accumulate(sources.begin(), sources.end(), int64_t{0},
                           [](int64_t sum, const LowRankSource & source) { return sum + source.down.shape[0]; });
}

LowRankFactors::LowRankFactors(const std::string & weight, std::span<const LowRankSource> sources, int threads)
    : rank_(total_rank(sources)), in_(sources.front().down.shape[1]) {
    const int64_t out = sources.front().up.shape[0];
    up_.resize(static_cast<size_t>(out * rank_));
    int64_t first = 0;
    for (const LowRankSource & source : sources) {
        const std::vector<float> down = decode(weight, source.down, threads);
        down_.insert(down_.end(), down.begin(), down.end());
        const std::vector<float> up = decode(weight, source.up, threads);
        const int64_t rank = source.down.shape[0];
        for (int64_t o = 0; o < out; ++o) {
            for (int64_t k = 0; k < rank; ++k) {
                up_[static_cast<size_t>(o * rank_ + first + k)] = source.scale * up[static_cast<size_t>(o * rank + k)];
            }
        }
        first += rank;
    }
}

void LowRankFactors::add_to(int64_t first, int64_t count, float * rows) const {
    const float * up = up_.data() + first * rank_;
    const int64_t whole = count - count % kTileRows;
    add_product(up, down_.data(), rank_, in_, whole, rows);
    if (whole == count) {
        return;
    }
    std::vector<float> up_rest(static_cast<size_t>(kTileRows * rank_));
    std::vector<float> rest(static_cast<size_t>(kTileRows * in_));
    std::copy(up + whole * rank_, up + count * rank_, up_rest.data());
    std::copy(rows + whole * in_, rows + count * in_, rest.data());
    add_product(up_rest.data(), down_.data(), rank_, in_, kTileRows, rest.data());
    std::copy(rest.data(), rest.data() + (count - whole) * in_, rows + whole * in_);
}

void LowRankFactors::fill(const LowRank & tensors) const {
    encode(down_, tensors.down);
    encode(up_, tensors.up);
}

}  // namespace ltx
