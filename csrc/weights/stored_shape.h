// The shapes in which files hold a tensor that a network has in another one.
#pragma once

#include "base/shape.h"

namespace ltx {

// Whether two shapes hold as many elements in the same order, so that bytes of one are bytes of the other: extents of 1
// come and go, and neighbours are merged or an extent is split. Swapped extents are something else.
bool is_regrouped(const Shape & stored, const Shape & expected);

}  // namespace ltx
