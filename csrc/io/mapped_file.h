// Read-only memory mapping of a model file.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "io/file_mapping.h"

namespace ltx {

// Maps a file for as long as the object lives. Every view is checked against the mapped size. Pages are shared with the
// operating system's cache and cost no private memory.
class MappedFile {
public:
    // Throws CheckpointError when the file cannot be opened or mapped, or is empty, DeviceMemoryError when the address
    // space ends.
    static std::shared_ptr<const MappedFile> open(const std::string & path);

    const std::string & path() const { return path_; }
    uint64_t size() const { return mapping_.size(); }

    // Start of the mapping, page aligned.
    std::byte * base() const { return mapping_.base(); }

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
    explicit MappedFile(const std::string & path) : path_(path), mapping_(path) {}

    std::string path_;
    FileMapping mapping_;
};

}  // namespace ltx
