#include "base/shape.h"

#include <limits>

#include "base/error.h"

namespace ltx {

std::string to_string(const Shape & shape) {
    std::string text = "(";
    for (size_t i = 0; i < shape.size(); ++i) {
        text += (i ? ", " : "") + std::to_string(shape[i]);
    }
    return text + (shape.size() == 1 ? ",)" : ")");
}

int64_t element_count(const Shape & shape) {
    int64_t count = 1;
    for (const int64_t dim : shape) {
        if (dim < 0 || (dim > 0 && count > std::numeric_limits<int64_t>::max() / dim)) {
            throw ShapeError("shape ", shape, " has a negative dimension or too many elements");
        }
        count *= dim;
    }
    return count;
}

}  // namespace ltx
