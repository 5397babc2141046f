// Windows refuses to cut a file that is mapped. A page that its disk or share does not give ends the process, because
// nothing can be put in its place.
#include <windows.h>

#include <system_error>

#include "base/error.h"
#include "io/file_mapping.h"

namespace ltx {

struct FileMapping::System {
    HANDLE file = INVALID_HANDLE_VALUE;
    HANDLE section = nullptr;

    ~System() {
        if (section != nullptr) {
            ::CloseHandle(section);
        }
        if (file != INVALID_HANDLE_VALUE) {
            ::CloseHandle(file);
        }
    }
};

namespace {

std::string last_error() {
    return std::system_category().message(static_cast<int>(::GetLastError()));
}

std::wstring wide(const std::string & utf8) {
    const int bytes = static_cast<int>(utf8.size());
    std::wstring text(utf8.size(), L'\0');
    const int count = ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), bytes, text.data(), bytes);
    text.resize(static_cast<size_t>(count));
    return text;
}

std::optional<FileState> state_of(HANDLE file) {
    BY_HANDLE_FILE_INFORMATION found{};
    if (!::GetFileInformationByHandle(file, &found)) {
        return std::nullopt;
    }
    const auto joined = [](DWORD high, DWORD low) { return static_cast<uint64_t>(high) << 32 | low; };
    return FileState{
        joined(found.nFileSizeHigh, found.nFileSizeLow),
        static_cast<int64_t>(joined(found.ftLastWriteTime.dwHighDateTime, found.ftLastWriteTime.dwLowDateTime))};
}

}  // namespace

FileMapping::FileMapping(const std::string & path) : system_(std::make_unique<System>()) {
    // Others may go on to write, rename and delete it, as elsewhere.
    system_->file =
        ::CreateFileW(wide(path).c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                      OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
    if (system_->file == INVALID_HANDLE_VALUE) {
        throw CheckpointError(path, ": cannot be opened: ", last_error());
    }
    const std::optional<FileState> found =
        ::GetFileType(system_->file) == FILE_TYPE_DISK ? state_of(system_->file) : std::nullopt;
    if (!found || found->size == 0) {
        throw CheckpointError(path, ": expected a regular file with data, found an empty or special file");
    }
    opened_ = *found;
    system_->section = ::CreateFileMappingW(system_->file, nullptr, PAGE_READONLY, 0, 0, nullptr);
    void * base = system_->section ? ::MapViewOfFile(system_->section, FILE_MAP_READ, 0, 0, 0) : nullptr;
    if (base == nullptr && ::GetLastError() == ERROR_NOT_ENOUGH_MEMORY) {
        throw DeviceMemoryError(path, ": the address space of this process has no room for the file's ",
                                opened_.size >> 20, " MiB");
    }
    if (base == nullptr) {
        throw CheckpointError(path, ": cannot be mapped: ", last_error());
    }
    base_ = static_cast<std::byte *>(base);
}

FileMapping::~FileMapping() {
    ::UnmapViewOfFile(base_);
}

std::optional<FileState> FileMapping::state() const {
    return state_of(system_->file);
}

bool FileMapping::was_missing() const {
    return false;
}

void FileMapping::prefetch(uint64_t begin, uint64_t end) const {
    WIN32_MEMORY_RANGE_ENTRY range{base_ + begin, static_cast<SIZE_T>(end - begin)};
    ::PrefetchVirtualMemory(::GetCurrentProcess(), 1, &range, 0);
}

void FileMapping::release(uint64_t begin, uint64_t end, bool /*drop_cached*/) const {
    // Pages that are not locked leave the working set, and stay in the cache, which no call drops by ranges.
    ::VirtualUnlock(base_ + begin, static_cast<SIZE_T>(end - begin));
}

}  // namespace ltx
