#include <windows.h>

#include <new>

#include "base/room.h"

namespace ltx {

namespace {

// The allocator takes more than it was asked for: a heap grows by steps.
constexpr size_t kSlack = size_t{1} << 20;

}  // namespace

void require_room(size_t bytes) {
    // Pages that are never touched: this asks for the addresses and for the promise that the system keeps account of.
    void * room = ::VirtualAlloc(nullptr, bytes + kSlack, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (room == nullptr) {
        throw std::bad_alloc();
    }
    ::VirtualFree(room, 0, MEM_RELEASE);
}

}  // namespace ltx
