// Where ggml's messages go; by itself ggml writes them to the standard error stream.
#pragma once

#include <functional>
#include <string>

namespace ltx {

// Hands every line that ggml logs to `log`, with whether it warns, on the thread that logged it. For the process.
// `log` must not throw: ggml is C.
void route_ggml_log(std::function<void(bool warns, const std::string & line)> log);

}  // namespace ltx
