#include "base/room.h"

#include <sys/mman.h>

#include <new>

namespace ltx {

namespace {

// The allocator takes more than it was asked for: a heap grows by steps, mapped pieces are rounded up to pages.
constexpr size_t kSlack = size_t{1} << 20;

}  // namespace

void require_room(size_t bytes) {
    // A thread's first allocation may reserve a heap of its own, which has to be there before the room is looked for.
    ::operator delete(::operator new(sizeof(void *)));
    // Pages that are never touched: this asks for the addresses and, where the system keeps account, for the promise.
    const size_t size = bytes + kSlack;
    void * room = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) {
        throw std::bad_alloc();
    }
    ::munmap(room, size);
}

}  // namespace ltx
