// The sinusoid that noise levels enter a network as. Source: ltx-core, transformer/timestep_embedding.py.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ltx {

// Width of the sinusoid in every released checkpoint.
constexpr int64_t kTimestepChannels = 256;

// (timesteps, kTimestepChannels): cos(T f_k) for k = 0..127, then sin(T f_k), f_k = 10000^(-k / 128).
// Made on the host: T reaches 1000 and a device's own sine may lose digits there.
std::vector<float> make_timestep_sinusoid(std::span<const float> timesteps);

}  // namespace ltx
