#include "base/stopping.h"

#include "base/error.h"

namespace ltx {

namespace {

std::atomic<bool> stop_asked{false};
thread_local const StopRequest * request_of_thread = nullptr;

}  // namespace

bool stopping() {
    return stop_asked.load(std::memory_order_relaxed) ||
           (request_of_thread && request_of_thread->load(std::memory_order_relaxed));
}

void work_for(const StopRequest * request) {
    request_of_thread = request;
}

WorkingFor::WorkingFor(const StopRequest & request) : before_(request_of_thread) {
    work_for(&request);
}

WorkingFor::~WorkingFor() {
    work_for(before_);
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
