// Pages of mapped files that are no longer there.
#pragma once

#include <cstddef>

namespace ltx {

// Watches a mapping of a file for as long as it lives. Touching a page behind the end of a file that was cut, or one
// that its disk does not give, raises SIGBUS, which ends the process, on whichever thread computes. For watched
// mappings the pages from there on become zeros and the reader goes on; whoever uses what was read has to ask whether
// that happened. Other addresses are left to the handler that was there before.
class WatchedMapping {
public:
    // The mapping must not change until the end of the object.
    WatchedMapping(void * base, size_t size);
    ~WatchedMapping();
    WatchedMapping(const WatchedMapping &) = delete;
    WatchedMapping & operator=(const WatchedMapping &) = delete;

    // Whether a page was missing.
    bool was_missing() const;

private:
    struct Slot;
    friend struct Watcher;

    Slot * slot_ = nullptr;  // null where too many files are mapped to watch this one
};

}  // namespace ltx
