#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace ltx {

namespace {

int64_t modified_ns(const struct stat & status) {
#ifdef __APPLE__
    return status.st_mtimespec.tv_sec * 1000000000LL + status.st_mtimespec.tv_nsec;
#else
    return status.st_mtim.tv_sec * 1000000000LL + status.st_mtim.tv_nsec;
#endif
}

// A page fault maps the cached pages around it too, up to this distance, so releases reach as far.
constexpr uint64_t kFaultAround = 1 << 16;

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const std::string & path) {
    std::shared_ptr<MappedFile> file(new MappedFile());
    file->path_ = path;
    file->descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status{};
    if (file->descriptor_ < 0 || ::fstat(file->descriptor_, &status) != 0) {
        throw CheckpointError(path, ": cannot be opened: ", std::strerror(errno));
    }
    if (!S_ISREG(status.st_mode) || status.st_size <= 0) {
        throw CheckpointError(path, ": expected a regular file with data, found an empty or special file");
    }
    file->size_ = static_cast<uint64_t>(status.st_size);
    file->modified_ns_ = modified_ns(status);
    void * base = ::mmap(nullptr, file->size_, PROT_READ, MAP_SHARED, file->descriptor_, 0);
    if (base == MAP_FAILED && errno == ENOMEM) {
        throw DeviceMemoryError(path, ": the address space of this process has no room for the file's ",
                                file->size_ >> 20, " MiB (ulimit -v, or the system's limit)");
    }
    if (base == MAP_FAILED) {
        throw CheckpointError(path, ": cannot be mapped: ", std::strerror(errno));
    }
    file->base_ = static_cast<std::byte *>(base);
    file->watched_.emplace(base, file->size_);
    return file;
}

MappedFile::~MappedFile() {
    watched_.reset();
    if (base_ != nullptr) {
        ::munmap(base_, size_);
    }
    if (descriptor_ >= 0) {
        ::close(descriptor_);
    }
}

std::span<const std::byte> MappedFile::view(uint64_t offset, uint64_t size) const {
    if (offset > size_ || size > size_ - offset) {
        throw CheckpointError(path_, ": bytes ", offset, " to ", offset, "+", size, " lie outside the file of ", size_,
                              " bytes; it may be a download that was cut off");
    }
    return {base_ + offset, size};
}

void MappedFile::prefetch(uint64_t offset, uint64_t size) const {
    const uint64_t begin = offset / kFaultAround * kFaultAround;
    const uint64_t end = std::min(size_, offset + size);
    ::madvise(base_ + begin, end - begin, MADV_WILLNEED);
}

void MappedFile::release(uint64_t offset, uint64_t size, bool drop_cached) const {
    const uint64_t begin = offset / kFaultAround * kFaultAround;
    const uint64_t end = std::min(size_, (offset + size + kFaultAround - 1) / kFaultAround * kFaultAround);
    ::madvise(base_ + begin, end - begin, MADV_DONTNEED);
#ifdef POSIX_FADV_DONTNEED
    if (drop_cached) {
        ::posix_fadvise(descriptor_, static_cast<off_t>(begin), static_cast<off_t>(end - begin), POSIX_FADV_DONTNEED);
    }
#else
    static_cast<void>(drop_cached);
#endif
}

void MappedFile::check_unchanged() const {
    struct stat status{};
    if (::fstat(descriptor_, &status) != 0 || static_cast<uint64_t>(status.st_size) != size_ ||
        modified_ns(status) != modified_ns_) {
        throw CheckpointError(path_, ": the file was changed while it was in use (", size_, " bytes when opened, ",
                              status.st_size, " now); load it again");
    }
    if (watched_->was_missing()) {
        throw CheckpointError(path_, ": a part of the file could not be read; its disk may be damaged or gone");
    }
}

}  // namespace ltx
