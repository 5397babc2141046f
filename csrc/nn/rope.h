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

// A row per different position of an axis: few, because tokens lie on a grid. It holds the entries of its axis and
// zeros, so the rows of a token's positions add up to its angles.
struct RopeValues {
    std::vector<float> cos;  // (count, width / 2)
    std::vector<float> sin;
    std::vector<int32_t> rows;  // (axes, tokens)
    int64_t count = 0;
};

// `positions` (axes, tokens): the middle of each token's interval, in the units of max_pos.
//
// Per axis m = width / (2 axes) frequencies g_i = (pi / 2) theta^(i / (m - 1)); angle = g_i (2 p / max_pos - 1) in
// float32; listed frequency outer, axis inner, with width / 2 - axes * m leading entries that do not rotate. Rows are
// numbered as positions appear, so with one axis and positions that all differ row t is token t's. The ladder runs over
// the full width, so every head has other frequencies, which stock RoPE operations cannot express.
RopeValues make_rope_values(const RopeConfig & config, const std::vector<float> & positions, int64_t tokens);

}  // namespace ltx
