// What this build is made of, for reports of faults.
#pragma once

#include <string>
#include <vector>

namespace ltx {

// Abbreviated hash of the commit, with "-dirty" where files differed from it; empty where it was not known. Its
// definition is written by the build (write_commit.cmake).
extern const char * const commit;

struct BuildFacts {
    std::string commit;
    std::string compiler;    // name and version
    std::string build_type;  // "Release"
    bool native;             // compiled for the processor that built it
    std::vector<std::string> backends;
    std::string ggml;  // version
};

BuildFacts build_facts();

}  // namespace ltx
