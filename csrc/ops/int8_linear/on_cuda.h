// Whether a CUDA device multiplies rotated rows as integers.
#pragma once

#include <atomic>

namespace ltx::cuda {

// The one switch. Off, and weights are held in 16 bits: the kernels never ran on a GPU, and the order in which copies
// and products see shared memory is what an emulation shows least of. docs/performance.md says what has to be seen
// first.
inline constexpr bool kTakesInt8 = false;
// The same for tests and measurements; set before a network is opened, whose weights are held by it.
inline std::atomic<bool> takes_int8{kTakesInt8};

}  // namespace ltx::cuda
