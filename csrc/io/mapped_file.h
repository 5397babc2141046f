// Read-only memory mapping of a model file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "io/missing_pages.h"

namespace ltx {

// Maps a file for as long as the object lives. Every view is checked against the mapped size. Pages are shared with the
// operating system's cache and cost no private memory.
class MappedFile {
public:
    // Throws CheckpointError when the file cannot be opened or mapped, or is empty, DeviceMemoryError when the address
    // space ends.
    static std::shared_ptr<const MappedFile> open(const std::string & path);

    ~MappedFile();
    MappedFile(const MappedFile &) = delete;
    MappedFile & operator=(const MappedFile &) = delete;

    const std::string & path() const { return path_; }
    uint64_t size() const { return size_; }

    // Start of the mapping, page aligned.
    std::byte * base() const { return base_; }

    // The bytes [offset, offset + size); throws CheckpointError when they are not all inside the file.
    std::span<const std::byte> view(uint64_t offset, uint64_t size) const;

    // Advice about a range, which changes no data. prefetch starts reading it into the system's cache; release takes
    // its pages out of this process, and with `drop_cached` out of the cache: the next use reads them again.
    void prefetch(uint64_t offset, uint64_t size) const;
    void release(uint64_t offset, uint64_t size, bool drop_cached) const;

    // Throws CheckpointError when the file was cut or rewritten since it was mapped, or a page could not be read. Call
    // before and after each use of the data: what is missing reads as zeros.
    void check_unchanged() const;

private:
    MappedFile() = default;

    std::string path_;
    int descriptor_ = -1;
    std::byte * base_ = nullptr;
    uint64_t size_ = 0;
    int64_t modified_ns_ = 0;
    std::optional<WatchedMapping> watched_;
};

}  // namespace ltx
