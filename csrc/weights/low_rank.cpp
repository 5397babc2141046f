#include "weights/low_rank.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "ggml-backend.h"
#include "weights/factors.h"
#include "weights/pack.h"

namespace ltx {

namespace {

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
        const std::vector<float> down = decode_factor(weight, source.down, threads);
        down_.insert(down_.end(), down.begin(), down.end());
        const std::vector<float> up = decode_factor(weight, source.up, threads);
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
    add_product(up_.data() + first * rank_, down_.data(), rank_, in_, count, rows);
}

void LowRankFactors::fill(const LowRank & tensors) const {
    encode(down_, tensors.down);
    encode(up_, tensors.up);
}

}  // namespace ltx
