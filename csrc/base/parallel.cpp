#include "base/parallel.h"

#include <algorithm>
#include <exception>
#include <mutex>
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
        for (int64_t part = 1; part < parts; ++part) {
            pool.emplace_back(guarded, part);
        }
        guarded(0);
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
}

}  // namespace ltx
