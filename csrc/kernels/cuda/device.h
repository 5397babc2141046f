// What a device runs of ours.
#pragma once

#include <cstddef>

namespace ltx::cuda {

// The compute capability, times ten, that the code of ours was compiled for that `device` (a number of ggml's) has
// loaded; 0 where there is none for it. A card may be newer than the code, which the driver then compiles for it.
int code_version(int device);

// Shared memory of one processor of the device that is current, for all blocks that run there at a time; 0 where it
// does not tell.
size_t shared_bytes_of_processor();

// Whether the device that is current has code of `kernel`, which was compiled for some devices alone.
bool has_code_of(const void * kernel);

}  // namespace ltx::cuda
