#include <windows.h>

#include <malloc.h>

#include "base/pages.h"

namespace ltx {

void release_pages(const void * begin, size_t size) {
    // Pages that are not locked leave the working set.
    ::VirtualUnlock(const_cast<void *>(begin), size);
}

// Large pages need a right of the user's there.
void prefer_huge_pages(void * /*begin*/, size_t /*size*/) {}

void trim_heap() {
    ::_heapmin();
}

}  // namespace ltx
