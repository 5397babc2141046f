#include "nn/rope.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
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
        throw ShapeError("rotary table: width ", config.width, " over ", axes, " axes and ", positions.size(),
                         " positions for ", tokens, " tokens do not fit");
    }
    std::vector<float> ladder(static_cast<size_t>(per_axis));
    for (int64_t i = 0; i < per_axis; ++i) {
        const double exponent = static_cast<double>(i) / static_cast<double>(per_axis - 1);
        ladder[static_cast<size_t>(i)] =
            config.double_ladder ? static_cast<float>(std::numbers::pi / 2 * std::pow(config.theta, exponent))
                                 : std::numbers::pi_v<float> / 2 *
                                       std::pow(static_cast<float>(config.theta), static_cast<float>(exponent));
    }
    RopeValues values;
    values.rows.reserve(static_cast<size_t>(axes * tokens));
    for (int64_t axis = 0; axis < axes; ++axis) {
        const auto extent = static_cast<float>(config.max_pos[static_cast<size_t>(axis)]);
        std::unordered_map<float, int32_t> row_of;
        for (int64_t token = 0; token < tokens; ++token) {
            const float position = positions[static_cast<size_t>(axis * tokens + token)];
            const auto [found, is_new] = row_of.try_emplace(position, static_cast<int32_t>(values.count));
            values.rows.push_back(found->second);
            if (!is_new) {
                continue;
            }
            const auto start = static_cast<size_t>(values.count++ * half);
            values.cos.resize(start + static_cast<size_t>(half), 0.0f);
            values.sin.resize(start + static_cast<size_t>(half), 0.0f);
            std::fill_n(values.cos.begin() + static_cast<std::ptrdiff_t>(start), axis == 0 ? pad : 0, 1.0f);
            // float32 steps in the reference's order; only the cosine itself is taken in double, because the
            // angle reaches 15708 and float range reduction would lose digits.
            const float centred = position / extent * 2.0f - 1.0f;
            for (int64_t i = 0; i < per_axis; ++i) {
                const auto angle = static_cast<double>(ladder[static_cast<size_t>(i)] * centred);
                const size_t at = start + static_cast<size_t>(pad + i * axes + axis);
                values.cos[at] = static_cast<float>(std::cos(angle));
                values.sin[at] = static_cast<float>(std::sin(angle));
            }
        }
    }
    return values;
}

}  // namespace ltx
