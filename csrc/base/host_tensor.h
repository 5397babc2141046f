// Float32 arrays in host memory: what goes into and comes out of a run.
#pragma once

#include <span>
#include <vector>

#include "base/shape.h"

namespace ltx {

// Owns its values; C order.
struct HostTensor {
    Shape shape;
    std::vector<float> values;
};

// Borrows the caller's array for the length of a call; C order.
struct HostView {
    Shape shape;
    std::span<const float> values;
};

}  // namespace ltx
