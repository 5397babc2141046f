#include "models/transformer/stream_tables.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace ltx {

namespace {

constexpr float kLowestHalf = -65504.0f;

}  // namespace

DistinctTimesteps::DistinctTimesteps(std::span<const float> timesteps) {
    std::unordered_map<float, int32_t> row_of;
    rows.reserve(timesteps.size());
    for (const float t : timesteps) {
        const auto [found, is_new] = row_of.try_emplace(t, static_cast<int32_t>(values.size()));
        if (is_new) {
            values.push_back(t);
        }
        rows.push_back(found->second);
    }
}

void StreamTables::update(const TransformerConfig & config, const StreamConfig & stream,
                          std::span<const float> positions, int64_t tokens) {
    if (!positions_.empty() && std::ranges::equal(positions_, positions)) {
        return;
    }
    positions_.clear();
    std::vector<float> middles(positions.size() / 2);
    for (size_t i = 0; i < middles.size(); ++i) {
        // float32, as the reference; bfloat16 here would move the result by percents.
        middles[i] = (positions[2 * i] + positions[2 * i + 1]) / 2.0f;
    }
    rope_ = make_rope_values({.width = stream.width(),
                              .theta = config.rope_theta,
                              .max_pos = stream.max_pos,
                              .double_ladder = config.rope_double},
                             middles, tokens);
    if (config.audio) {
        const std::vector<float> times(middles.begin(), middles.begin() + tokens);
        cross_rope_ = make_rope_values({.width = config.cross_width(),
                                        .theta = config.rope_theta,
                                        .max_pos = {std::max(config.video.max_pos[0], config.audio->max_pos[0])},
                                        .double_ladder = config.rope_double},
                                       times, tokens);
    }
    positions_.assign(positions.begin(), positions.end());
}

std::vector<ggml_fp16_t> make_mask_bias(std::span<const float> weights) {
    std::vector<ggml_fp16_t> bias(weights.size());
    std::ranges::transform(weights, bias.begin(), [](float weight) {
        return ggml_fp32_to_fp16(weight > 0.0f ? std::max(std::log(weight), kLowestHalf) : kLowestHalf);
    });
    return bias;
}

}  // namespace ltx
