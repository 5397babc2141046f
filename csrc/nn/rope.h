// Angle tables of the split rotary embedding, made on the host. Source: ltx-core, transformer/rope.py.
#pragma once

#include <cstdint>
#include <vector>

namespace ltx {

struct RopeConfig {
    int64_t width;  // of all heads together
    double theta;
    std::vector<double> max_pos;  // per axis
    bool double_ladder;           // released checkpoints: frequencies computed in float64, then rounded to float32
};

struct RopeValues {
    std::vector<float> cos;  // (tokens, width / 2)
    std::vector<float> sin;
};

// `positions` (axes, tokens): the middle of each token's interval, in the units of max_pos.
//
// Per axis m = width / (2 axes) frequencies g_i = (pi / 2) theta^(i / (m - 1)); angle = g_i (2 p / max_pos - 1) in float32;
// listed frequency outer, axis inner, with width / 2 - axes * m leading entries that do not rotate. The ladder runs over
// the full width, so every head has other frequencies, which stock RoPE operations cannot express.
RopeValues make_rope_values(const RopeConfig & config, const std::vector<float> & positions, int64_t tokens);

}  // namespace ltx
