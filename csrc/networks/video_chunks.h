// How much of a clip goes through a video network at once, and the memory its layers keep in between.
#pragma once

#include <memory>
#include <vector>

#include "nn/frame_stream.h"
#include "runtime/residency.h"
#include "runtime/state.h"

namespace ltx {

// Latent frames per run for pictures of `picture_pixels` and `frames_per_latent`, at least 1.
int64_t chunk_latents(int64_t picture_pixels, int64_t frames_per_latent);

// Lets the mapped weights of each layer go when it is done: they are worth more than all activations, and reading them
// again takes a hundredth of the time that a run takes. Null where weights lie in device memory.
std::unique_ptr<Residency> one_layer_at_a_time(const Backend & backend, std::vector<const WeightStore *> stores);

// A stream whose kept frames lie in `states`, which has to outlive it.
FrameStream stream_over(StateStore & states);

}  // namespace ltx
