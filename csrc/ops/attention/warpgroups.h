// Attention by the matrix instructions of warpgroups, for compute capability 9.0 alone.
#pragma once

#include <atomic>

#include "kernels/cuda/cuda_op.h"

namespace ltx::cuda {

struct AttentionArguments;

// The one switch. Off: the kernel never ran on a GPU, and its barriers and the order of its memory are what an
// emulation shows least of. docs/performance.md says what has to be seen first.
inline constexpr bool kTakesWarpgroups = false;
// The same for tests and measurements; set before anything is computed, because recorded graphs stay as they are.
inline std::atomic<bool> takes_warpgroups{kTakesWarpgroups};

// Enqueues attention without a mask over heads of 64 or 128 elements; false, with nothing enqueued, for any other,
// where the switch is off, and on a device that has no such code. Throws BackendError where the device refuses the
// launch.
bool attend_by_warpgroups(const CudaCall & call, const AttentionArguments & arguments);

}  // namespace ltx::cuda
