// What a device runs of ours.
#pragma once

namespace ltx::cuda {

// The compute capability, times ten, that the code of ours was compiled for that `device` (a number of ggml's) has
// loaded; 0 where there is none for it. A card may be newer than the code, which the driver then compiles for it.
int code_version(int device);

}  // namespace ltx::cuda
