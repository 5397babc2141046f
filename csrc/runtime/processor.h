// Whether this processor knows the instructions that ggml was compiled for.
#pragma once

namespace ltx {

// Throws UnsupportedError where it lacks some: the first of them would kill the process. To be called before ggml's CPU
// backend is; all else is compiled for any processor of its kind, or chooses at run time.
void check_processor();

}  // namespace ltx
