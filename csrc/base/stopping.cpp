#include "base/stopping.h"

#include <atomic>

#include "base/error.h"

namespace ltx {

namespace {

std::atomic<bool> stop_asked{false};

}  // namespace

bool stopping() {
    return stop_asked.load(std::memory_order_relaxed);
}

void set_stopping(bool stop) {
    stop_asked.store(stop, std::memory_order_relaxed);
}

void check_stopping() {
    if (stopping()) {
        throw Cancelled("interrupted");
    }
}

}  // namespace ltx
