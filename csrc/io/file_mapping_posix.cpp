#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "io/file_mapping.h"
#include "io/missing_pages.h"

namespace ltx {

struct FileMapping::System {
    int descriptor = -1;
    std::optional<WatchedMapping> watched;

    ~System() {
        if (descriptor >= 0) {
            ::close(descriptor);
        }
    }
};

namespace {

FileState state_of(const struct stat & status) {
#ifdef __APPLE__
    const timespec & modified = status.st_mtimespec;
#else
    const timespec & modified = status.st_mtim;
#endif
    return {static_cast<uint64_t>(status.st_size), modified.tv_sec * 1000000000LL + modified.tv_nsec};
}

}  // namespace

FileMapping::FileMapping(const std::string & path) : system_(std::make_unique<System>()) {
    system_->descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status{};
    if (system_->descriptor < 0 || ::fstat(system_->descriptor, &status) != 0) {
        throw CheckpointError(path, ": cannot be opened: ", std::strerror(errno));
    }
    if (!S_ISREG(status.st_mode) || status.st_size <= 0) {
        throw CheckpointError(path, ": expected a regular file with data, found an empty or special file");
    }
    opened_ = state_of(status);
    void * base = ::mmap(nullptr, opened_.size, PROT_READ, MAP_SHARED, system_->descriptor, 0);
    if (base == MAP_FAILED && errno == ENOMEM) {
        throw DeviceMemoryError(path, ": the address space of this process has no room for the file's ",
                                opened_.size >> 20, " MiB (ulimit -v, or the system's limit)");
    }
    if (base == MAP_FAILED) {
        throw CheckpointError(path, ": cannot be mapped: ", std::strerror(errno));
    }
    base_ = static_cast<std::byte *>(base);
    system_->watched.emplace(base, opened_.size);
}

FileMapping::~FileMapping() {
    system_->watched.reset();
    ::munmap(base_, opened_.size);
}

std::optional<FileState> FileMapping::state() const {
    struct stat status{};
    return ::fstat(system_->descriptor, &status) == 0 ? std::optional(state_of(status)) : std::nullopt;
}

bool FileMapping::was_missing() const {
    return system_->watched->was_missing();
}

void FileMapping::prefetch(uint64_t begin, uint64_t end) const {
    ::madvise(base_ + begin, end - begin, MADV_WILLNEED);
}

void FileMapping::release(uint64_t begin, uint64_t end, bool drop_cached) const {
    ::madvise(base_ + begin, end - begin, MADV_DONTNEED);
#ifdef POSIX_FADV_DONTNEED
    if (drop_cached) {
        ::posix_fadvise(system_->descriptor, static_cast<off_t>(begin), static_cast<off_t>(end - begin),
                        POSIX_FADV_DONTNEED);
    }
#else
    static_cast<void>(drop_cached);
#endif
}

}  // namespace ltx
