#include "io/mapped_file.h"

#include <algorithm>

#include "base/error.h"

namespace ltx {

namespace {

// A page fault maps the cached pages around it too, up to this distance, so releases reach as far.
constexpr uint64_t kFaultAround = 1 << 16;

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string & path) {
    return std::shared_ptr<const MappedFile>(new MappedFile(path));
}

std::span<const std::byte> MappedFile::view(uint64_t offset, uint64_t size) const {
    if (offset > this->size() || size > this->size() - offset) {
        throw CheckpointError(path_, ": bytes ", offset, " to ", offset, "+", size, " lie outside the file of ",
                              this->size(), " bytes; it may be a download that was cut off");
    }
    return {base() + offset, size};
}

void MappedFile::prefetch(uint64_t offset, uint64_t size) const {
    mapping_.prefetch(offset / kFaultAround * kFaultAround, std::min(this->size(), offset + size));
}

void MappedFile::release(uint64_t offset, uint64_t size, bool drop_cached) const {
    const uint64_t end = (offset + size + kFaultAround - 1) / kFaultAround * kFaultAround;
    mapping_.release(offset / kFaultAround * kFaultAround, std::min(this->size(), end), drop_cached);
}

void MappedFile::check_unchanged() const {
    const std::optional<FileState> state = mapping_.state();
    if (state != mapping_.opened()) {
        throw CheckpointError(path_, ": the file was changed while it was in use (", size(), " bytes when opened, ",
                              state ? state->size : 0, " now); load it again");
    }
    if (mapping_.was_missing()) {
        throw CheckpointError(path_, ": a part of the file could not be read; its disk may be damaged or gone");
    }
}

}  // namespace ltx
