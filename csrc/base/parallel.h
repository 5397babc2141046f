// A plain fork-join loop for work outside of compute graphs (conversion of weights).
#pragma once

#include <cstdint>
#include <functional>

namespace ltx {

// Calls work(begin, end) on `threads` threads so that the ranges cover 0..count. The first exception is rethrown.
void parallel_for(int64_t count, int threads, const std::function<void(int64_t, int64_t)> & work);

}  // namespace ltx
