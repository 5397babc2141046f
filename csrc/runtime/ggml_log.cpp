#include "runtime/ggml_log.h"

#include <ggml.h>

#include <mutex>
#include <new>
#include <string_view>
#include <utility>

namespace ltx {

namespace {

struct Route {
    std::function<void(bool, const std::string &)> log;
    std::mutex mutex;
    // ggml may send a line in parts; those after the first carry no level of their own.
    std::string line;
    ggml_log_level level = GGML_LOG_LEVEL_INFO;
};

// Never freed: ggml may log while the process ends.
Route & route() {
    static Route * const kept = new Route;
    return *kept;
}

// The lines of ggml's that users of a working machine meet, in words that say what follows from them.
std::string in_plain_words(std::string line) {
    constexpr std::string_view kNoGpu = "ggml_cuda_init: failed to initialize CUDA: ";
    if (!line.starts_with(kNoGpu)) {
        return line;
    }
    return "no NVIDIA GPU can be used (" + line.substr(kNoGpu.size()) + "), so the CPU computes";
}

void hand_on(ggml_log_level level, const char * text) {
    Route & to = route();
    std::string complete;
    {
        const std::lock_guard lock(to.mutex);
        if (level != GGML_LOG_LEVEL_CONT) {
            to.level = level;
        }
        level = to.level;
        to.line += text;
        if (to.line.empty() || to.line.back() != '\n') {
            return;
        }
        to.line.pop_back();
        complete = in_plain_words(std::exchange(to.line, {}));
    }
    // What ggml calls an error is a warning: a failure that matters comes back as an exception of its own.
    to.log(level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR, complete);
}

// No exception may pass through ggml's C code, so a line for which there is no memory is lost. What failed comes back
// as an exception of its own.
void take(ggml_log_level level, const char * text, void *) {
    try {
        hand_on(level, text);
    } catch (const std::bad_alloc &) {
    }
}

}  // namespace

void route_ggml_log(std::function<void(bool warns, const std::string & line)> log) {
    route().log = std::move(log);
    ggml_log_set(&take, nullptr);
}

}  // namespace ltx
