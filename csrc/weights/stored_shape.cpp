#include "weights/stored_shape.h"

#include <algorithm>
#include <set>

namespace ltx {

namespace {

// The sizes of the blocks of elements in which one index is constant, from the innermost on, but for those of one
// element and of all: what an order of elements leaves of a shape.
std::set<int64_t> block_sizes(const Shape & shape) {
    std::set<int64_t> sizes;
    int64_t size = 1;
    for (auto dim = shape.rbegin(); dim != shape.rend(); ++dim) {
        sizes.insert(size);
        size *= *dim;
    }
    sizes.erase(1);
    sizes.erase(size);
    return sizes;
}

}  // namespace

bool is_regrouped(const Shape & stored, const Shape & expected) {
    if (element_count(stored) != element_count(expected)) {
        return false;
    }
    const std::set<int64_t> have = block_sizes(stored);
    const std::set<int64_t> want = block_sizes(expected);
    return std::ranges::includes(have, want) || std::ranges::includes(want, have);
}

}  // namespace ltx
