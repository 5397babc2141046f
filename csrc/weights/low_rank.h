// Low-rank additions (LoRAs) to weights: merged into their rows at load, or held as two thin matrices beside them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ggml.h"
#include "io/tensor_table.h"

namespace ltx {

// Rows that are merged at a time: enough for each loaded element of `down` to serve many, few enough to stay cached.
inline constexpr int64_t kMergedRows = 32;

// All additions to one weight as a pair of matrices; what they add to W x is up (down x).
struct LowRank {
    ggml_tensor * down = nullptr;  // ne: [in, rank]
    ggml_tensor * up = nullptr;    // ne: [rank, out]
};

// Whether additions to a weight held as `held` (nothing: converted to bfloat16) are computed beside it.
bool runs_beside(LowRankMode mode, std::optional<ggml_type> held);

// Sum of the ranks: stacked, several additions are one of that rank.
int64_t total_rank(std::span<const LowRankSource> sources);

// The stacked factors of all additions to one weight, decoded; scales are folded into `up`.
class LowRankFactors {
public:
    // `weight` is for messages. Throws CheckpointError for values that are not finite and files that changed.
    LowRankFactors(const std::string & weight, std::span<const LowRankSource> sources, int threads);

    // Adds rows `first`.. of up * down to `rows` (count, in). Calls from several threads may run at once.
    void add_to(int64_t first, int64_t count, float * rows) const;

    // Encodes both factors into tensors of their shape.
    void fill(const LowRank & tensors) const;

private:
    int64_t rank_;
    int64_t in_;
    std::vector<float> down_;  // (rank, in)
    std::vector<float> up_;    // (out, rank)
};

}  // namespace ltx
