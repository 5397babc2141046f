#include "nn/rope.h"

#include <cmath>
#include <numbers>
#include <unordered_map>

#include "base/error.h"

namespace ltx {

RopeValues make_rope_values(const RopeConfig & config, const std::vector<float> & positions, int64_t tokens) {
    const auto axes = static_cast<int64_t>(config.max_pos.size());
    const int64_t half = config.width / 2;
    const int64_t per_axis = half / axes;
    const int64_t pad = half - per_axis * axes;
    if (per_axis < 2 || static_cast<int64_t>(positions.size()) != axes * tokens) {
        throw ShapeError("rotary table: width " + std::to_string(config.width) + " over " + std::to_string(axes) +
                         " axes and " + std::to_string(positions.size()) + " positions for " + std::to_string(tokens) +
                         " tokens do not fit");
    }
    std::vector<float> ladder(static_cast<size_t>(per_axis));
    for (int64_t i = 0; i < per_axis; ++i) {
        const double exponent = static_cast<double>(i) / static_cast<double>(per_axis - 1);
        ladder[static_cast<size_t>(i)] =
            config.double_ladder ? static_cast<float>(std::numbers::pi / 2 * std::pow(config.theta, exponent))
                                 : std::numbers::pi_v<float> / 2 *
                                       std::pow(static_cast<float>(config.theta), static_cast<float>(exponent));
    }
    RopeValues values{std::vector<float>(static_cast<size_t>(tokens * half), 1.0f),
                      std::vector<float>(static_cast<size_t>(tokens * half), 0.0f)};
    // Few positions of an axis differ (frames, rows, columns), so their angles are taken once.
    std::vector<float> cos(static_cast<size_t>(per_axis));
    std::vector<float> sin(static_cast<size_t>(per_axis));
    for (int64_t axis = 0; axis < axes; ++axis) {
        std::unordered_map<float, std::vector<int64_t>> tokens_at;
        for (int64_t token = 0; token < tokens; ++token) {
            tokens_at[positions[static_cast<size_t>(axis * tokens + token)]].push_back(token);
        }
        const auto extent = static_cast<float>(config.max_pos[static_cast<size_t>(axis)]);
        for (const auto & [position, members] : tokens_at) {
            // float32 steps in the reference's order; only the cosine itself is taken in double, because the
            // angle reaches 15708 and float range reduction would lose digits.
            const float centred = position / extent * 2.0f - 1.0f;
            for (size_t i = 0; i < cos.size(); ++i) {
                const auto angle = static_cast<double>(ladder[i] * centred);
                cos[i] = static_cast<float>(std::cos(angle));
                sin[i] = static_cast<float>(std::sin(angle));
            }
            for (const int64_t token : members) {
                float * cos_out = values.cos.data() + token * half + pad + axis;
                float * sin_out = values.sin.data() + token * half + pad + axis;
                for (int64_t i = 0; i < per_axis; ++i) {
                    cos_out[i * axes] = cos[static_cast<size_t>(i)];
                    sin_out[i * axes] = sin[static_cast<size_t>(i)];
                }
            }
        }
    }
    return values;
}

}  // namespace ltx
