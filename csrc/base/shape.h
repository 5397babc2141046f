// Shapes as numpy and PyTorch print them: outermost axis first. (ggml's `ne` order is the reverse.)
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ltx {

using Shape = std::vector<int64_t>;

// "(3, 4)"
std::string to_string(const Shape & shape);

// Product of the dimensions; 1 for an empty shape. Throws ShapeError for negative dimensions or overflow.
int64_t element_count(const Shape & shape);

}  // namespace ltx
