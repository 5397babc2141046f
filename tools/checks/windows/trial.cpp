// What the core asks of Windows: files are mapped, told from changed ones and refused; memory and threads are there;
// and a product is computed. Exit code 1 with a sentence where something is not as expected.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "base/error.h"
#include "base/pages.h"
#include "base/room.h"
#include "io/mapped_file.h"
#include "runtime/machine_peak.h"

namespace {

void expect(bool met, const std::string & what) {
    if (!met) {
        throw ltx::Error("expected that ", what);
    }
}

std::string refusal(const std::function<void()> & call) {
    try {
        call();
    } catch (const ltx::CheckpointError & error) {
        return error.what();
    }
    return "";
}

void try_files(const std::filesystem::path & folder) {
    const std::filesystem::path path = folder / std::filesystem::path(u8"m\u00f6del.gguf");
    const std::string name = reinterpret_cast<const char *>(path.u8string().c_str());
    std::string content(3 << 20, '\0');
    for (size_t i = 0; i < content.size(); ++i) {
        content[i] = static_cast<char>(i * 31 >> 8);
    }
    std::ofstream(path, std::ios::binary) << content;
    {
        const auto file = ltx::MappedFile::open(name);
        const auto read = [&] {
            const auto bytes = file->view(0, file->size());
            return std::string(reinterpret_cast<const char *>(bytes.data()), bytes.size());
        };
        expect(read() == content, "a mapped file reads as it was written");
        file->prefetch(1 << 20, 1 << 20);
        file->release(1 << 20, 1 << 20, /*drop_cached=*/true);
        ltx::release_pages(file->base(), 1 << 20);
        expect(read() == content, "released pages are read again");
        file->check_unchanged();
        expect(refusal([&] { file->view(3 << 20, 1); }).find("lie outside") != std::string::npos,
               "a view ends with the file");
        std::ofstream(path, std::ios::binary | std::ios::app) << "more";
        expect(refusal([&] { file->check_unchanged(); }).find("was changed") != std::string::npos,
               "a file that grew is noticed");
    }
    std::filesystem::remove(path);
    expect(refusal([&] { ltx::MappedFile::open(name); }).find("cannot be opened") != std::string::npos,
           "a missing file is refused");
    std::ofstream(path, std::ios::binary).close();
    expect(refusal([&] { ltx::MappedFile::open(name); }).find("empty") != std::string::npos,
           "an empty file is refused");
    std::filesystem::remove(path);
}

void try_memory() {
    ltx::require_room(64 << 20);
    ltx::trim_heap();
    try {
        ltx::require_room(size_t{1} << 50);
    } catch (const std::bad_alloc &) {
        return;
    }
    throw ltx::Error("expected that a petabyte is refused");
}

}  // namespace

int main() {
    try {
        try_files(std::filesystem::temp_directory_path());
        try_memory();
        const ltx::MachinePeak peak = ltx::measure_peak(ltx::Backend::open("cpu", 2));
        std::cout << "files, memory and threads are as expected; products reach " << peak.flop_per_s / 1e9
                  << " GFLOP/s\n";
        return 0;
    } catch (const std::exception & error) {
        std::cout << error.what() << "\n";
        return 1;
    }
}
