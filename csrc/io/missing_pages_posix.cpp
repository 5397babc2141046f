#include "io/missing_pages.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

namespace ltx {

// What a signal handler may look at: no locks, no allocations.
struct WatchedMapping::Slot {
    std::atomic<bool> taken{false};
    std::atomic<uintptr_t> begin{0};
    std::atomic<uintptr_t> end{0};  // 0: watches nothing
    std::atomic<bool> missing{false};
};

struct Watcher {
    // Models are some files, and at most some dozens of shards.
    inline static std::array<WatchedMapping::Slot, 1024> slots;
    inline static struct sigaction former{};
    inline static uintptr_t page_size = 4096;

    static void install() {
        page_size = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
        struct sigaction action{};
        action.sa_sigaction = &on_bus_error;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        ::sigaction(SIGBUS, &action, &former);
    }

    // Puts zeros where the file gives nothing; false for an address that is not watched.
    static bool fill(uintptr_t address) {
        for (WatchedMapping::Slot & slot : slots) {
            const uintptr_t end = slot.end.load(std::memory_order_acquire);
            if (address < slot.begin.load(std::memory_order_relaxed) || address >= end) {
                continue;
            }
            const uintptr_t page = address / page_size * page_size;
            slot.missing.store(true, std::memory_order_release);
            return ::mmap(reinterpret_cast<void *>(page), end - page, PROT_READ,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
        }
        return false;
    }

    static void on_bus_error(int number, siginfo_t * info, void * context) {
        // A kernel's word about an access; others may send the signal for reasons of their own.
        if (info->si_code > 0 && fill(reinterpret_cast<uintptr_t>(info->si_addr))) {
            return;
        }
        if (former.sa_flags & SA_SIGINFO) {
            former.sa_sigaction(number, info, context);
        } else if (former.sa_handler != SIG_DFL && former.sa_handler != SIG_IGN) {
            former.sa_handler(number);
        } else {
            // Comes again as soon as this returns, and ends the process.
            ::sigaction(SIGBUS, &former, nullptr);
            ::raise(SIGBUS);
        }
    }
};

WatchedMapping::WatchedMapping(void * base, size_t size) {
    static std::once_flag installed;
    std::call_once(installed, &Watcher::install);
    for (Slot & slot : Watcher::slots) {
        if (!slot.taken.exchange(true)) {
            slot_ = &slot;
            slot.missing = false;
            slot.begin = reinterpret_cast<uintptr_t>(base);
            slot.end = (reinterpret_cast<uintptr_t>(base) + size + Watcher::page_size - 1) / Watcher::page_size *
                       Watcher::page_size;
            return;
        }
    }
}

WatchedMapping::~WatchedMapping() {
    if (slot_) {
        slot_->end = 0;
        slot_->taken = false;
    }
}

bool WatchedMapping::was_missing() const {
    return slot_ && slot_->missing.load(std::memory_order_acquire);
}

}  // namespace ltx
