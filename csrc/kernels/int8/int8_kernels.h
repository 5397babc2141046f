// The kernels by instruction set, each in a file of its own.
#pragma once

#include "kernels/int8/int8.h"

namespace ltx {

extern const Int8Kernel kInt8Avx2;

}  // namespace ltx
