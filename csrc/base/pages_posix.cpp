#include "base/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace ltx {

namespace {

// Of the pages that lie wholly in a piece of memory.
void advise(const void * begin, size_t size, int advice) {
    static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    const auto address = reinterpret_cast<uintptr_t>(begin);
    const uintptr_t first = (address + page - 1) / page * page;
    const uintptr_t end = (address + size) / page * page;
    if (first < end) {
        ::madvise(reinterpret_cast<void *>(first), end - first, advice);
    }
}

}  // namespace

void release_pages(const void * begin, size_t size) {
    advise(begin, size, MADV_DONTNEED);
}

void prefer_huge_pages([[maybe_unused]] void * begin, [[maybe_unused]] size_t size) {
#ifdef MADV_HUGEPAGE
    advise(begin, size, MADV_HUGEPAGE);
#endif
}

void trim_heap() {
#ifdef __GLIBC__
    ::malloc_trim(0);
#endif
}

}  // namespace ltx
