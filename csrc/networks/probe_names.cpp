#include "networks/probe_names.h"

#include <algorithm>

#include "base/error.h"

namespace ltx {

namespace {

constexpr size_t kMaxListed = 5;

size_t common_prefix(const std::string & a, const std::string & b) {
    return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

void check_probe_names(const char * function, const ProbeSet & wanted, const std::vector<std::string> & known) {
    for (const std::string & name : wanted) {
        if (std::ranges::find(known, name) != known.end()) {
            continue;
        }
        std::vector<std::string> near = known;
        std::ranges::stable_sort(near, std::ranges::greater(),
                                 [&](const std::string & other) { return common_prefix(name, other); });
        std::string text = std::string(function) + ": there is no probe '" + name + "'; nearest are ";
        for (size_t i = 0; i < std::min(near.size(), kMaxListed); ++i) {
            text += (i ? ", " : "") + near[i];
        }
        throw ArgumentError(text);
    }
}

}  // namespace ltx
