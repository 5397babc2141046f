#include "nn/timestep.h"

#include <cmath>

namespace ltx {

std::vector<float> make_timestep_sinusoid(std::span<const float> timesteps) {
    constexpr int64_t half = kTimestepChannels / 2;
    constexpr double max_period = 10000.0;
    const auto slope = static_cast<float>(-std::log(max_period));
    std::vector<float> values(timesteps.size() * kTimestepChannels);
    for (size_t row = 0; row < timesteps.size(); ++row) {
        float * out = values.data() + row * kTimestepChannels;
        for (int64_t k = 0; k < half; ++k) {
            // float32 steps in the reference's order; only sine and cosine are taken in double.
            const float frequency = std::exp(slope * static_cast<float>(k) / static_cast<float>(half));
            const double angle = static_cast<double>(timesteps[row] * frequency);
            out[k] = static_cast<float>(std::cos(angle));
            out[half + k] = static_cast<float>(std::sin(angle));
        }
    }
    return values;
}

}  // namespace ltx
