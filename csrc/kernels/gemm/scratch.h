// Working memory of a thread that multiplies; grows on demand and is kept for the next product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "base/pages.h"
#include "kernels/gemm/gemm.h"

namespace ltx {

struct AlignedDelete {
    std::align_val_t alignment{};
    void operator()(std::byte * memory) const { ::operator delete(memory, alignment); }
};

class AlignedMemory {
public:
    // At least `count` elements with any values, aligned to 64 bytes.
    template <typename T>
    T * get(int64_t count) {
        const auto bytes = static_cast<size_t>(count) * sizeof(T);
        if (size_ < bytes) {
            memory_.reset();
            size_ = 0;
            const AlignedDelete deleter{bytes < kLarge ? kAlignment : std::align_val_t{kHugePage}};
            memory_ = {static_cast<std::byte *>(::operator new(bytes, deleter.alignment)), deleter};
            size_ = bytes;
            if (bytes >= kLarge) {
                prefer_huge_pages(memory_.get(), bytes);
            }
        }
        return reinterpret_cast<T *>(memory_.get());
    }

private:
    static constexpr std::align_val_t kAlignment{64};
    // A good part of a large page, which takes all of it from the system.
    static constexpr size_t kLarge = kHugePage / 4;

    std::unique_ptr<std::byte, AlignedDelete> memory_;
    size_t size_ = 0;
};

struct GemmScratch {
    AlignedMemory packed;   // columns
    AlignedMemory decoded;  // columns before they are packed
    AlignedMemory sums;     // of one block of rows
    AlignedMemory partial;  // sums over a part of the depth, of all rows

    static GemmScratch & of_thread() {
        static thread_local GemmScratch scratch;
        return scratch;
    }
};

}  // namespace ltx
