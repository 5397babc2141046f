// What the system does for a file that is mapped for reading: one implementation for POSIX, one for Windows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace ltx {

// By which a file that was cut or rewritten is told.
struct FileState {
    uint64_t size;
    int64_t modified;  // in the units of the system
    bool operator==(const FileState &) const = default;
};

// Maps a whole file for as long as the object lives. io/mapped_file.h is for those who read it.
class FileMapping {
public:
    // Throws CheckpointError when the file cannot be opened or mapped, is empty or is no regular file,
    // DeviceMemoryError when the address space ends.
    explicit FileMapping(const std::string & path);
    ~FileMapping();
    FileMapping(const FileMapping &) = delete;
    FileMapping & operator=(const FileMapping &) = delete;

    std::byte * base() const { return base_; }
    uint64_t size() const { return opened_.size; }

    // The state when it was opened, and now; nothing where the system cannot tell.
    const FileState & opened() const { return opened_; }
    std::optional<FileState> state() const;

    // Whether a page could not be read and was taken for zeros.
    bool was_missing() const;

    // Advice about the bytes [begin, end), see MappedFile.
    void prefetch(uint64_t begin, uint64_t end) const;
    void release(uint64_t begin, uint64_t end, bool drop_cached) const;

private:
    struct System;

    std::unique_ptr<System> system_;
    std::byte * base_ = nullptr;
    FileState opened_{};
};

}  // namespace ltx
