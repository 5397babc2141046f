// Host side of a stream's inputs: noise levels, rotary tables and masks from what the caller gives per token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ggml.h"
#include "models/transformer/config.h"
#include "nn/rope.h"

namespace ltx {

// The different values among `timesteps`, in order of appearance, and which of them each token has. Modulation runs
// once per value instead of once per token.
struct DistinctTimesteps {
    std::vector<float> values;
    std::vector<int32_t> rows;  // (tokens,)

    explicit DistinctTimesteps(std::span<const float> timesteps);
};

// Rotary tables of one stream, kept while the positions stay the same, which is for a whole generation.
class StreamTables {
public:
    // `positions` (axes, tokens, 2): start and end per token. The cross table follows the time axis
    // alone, and stays empty in a model of one stream.
    void update(const TransformerConfig & config, const StreamConfig & stream, std::span<const float> positions,
                int64_t tokens);

    const RopeValues & rope() const { return rope_; }
    const RopeValues & cross_rope() const { return cross_rope_; }

    void reset() { *this = {}; }

private:
    std::vector<float> positions_;
    RopeValues rope_;
    RopeValues cross_rope_;
};

// Attention weights in 0..1 to what is added to the logits: log(w), and the most negative finite value for 0.
std::vector<ggml_fp16_t> make_mask_bias(std::span<const float> weights);

}  // namespace ltx
