// Forms of windowed attention for tests. Only built with LTX2CPP_TESTING.
#pragma once

#include <string>

namespace ltx::bindings {

// Lets windowed attention run as on a CPU with these instructions ("avx2", "avx512", "amx"), in plain C++, from here
// on; "best": as it is. Throws ArgumentError.
void choose_window_form(const std::string & name);

}  // namespace ltx::bindings
