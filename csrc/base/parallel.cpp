#include "base/parallel.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace ltx {

void parallel_for(int64_t count, int threads, const std::function<void(int64_t, int64_t)> & work) {
    const int64_t parts = std::clamp<int64_t>(threads, 1, std::max<int64_t>(count, 1));
    if (parts == 1) {
        work(0, count);
        return;
    }
    std::exception_ptr failure;
    std::mutex failure_mutex;
    const auto guarded = [&](int64_t part) {
        try {
            work(count * part / parts, count * (part + 1) / parts);
        } catch (...) {
            const std::lock_guard lock(failure_mutex);
            failure = failure ? failure : std::current_exception();
        }
    };
    {
        std::vector<std::jthread> pool;
        pool.reserve(static_cast<size_t>(parts));
        int64_t started = 1;
        try {
            for (; started < parts; ++started) {
                pool.emplace_back(guarded, started);
            }
        } catch (const std::system_error &) {
            // No more threads: this one does the rest.
        }
        guarded(0);
        for (int64_t part = started; part < parts; ++part) {
            guarded(part);
        }
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
}

}  // namespace ltx
