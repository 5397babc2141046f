// The kernels by instruction set, each in a file of its own.
#pragma once

#include "kernels/int8/int8.h"

namespace ltx {

extern const Int8Kernel kInt8Avx2;
extern const Int8Kernel kInt8AvxVnni;
extern const Int8Kernel kInt8Avx512Vnni;
extern const Int8Kernel kInt8Amx;
extern const Int8Kernel kInt8Dotprod;

void pack_int8_avx512(const int8_t * weights, int64_t stride, int64_t cols, int64_t depth, std::byte * packed);

// values / scale to the nearest integers, of a finite row with a scale that is not 0, as round_to_int8 defines them.
void round_int8_row_avx512(const float * values, float scale, int8_t * integers, int64_t count);

// Rotates a group of kRotationGroup values in place, as rotate_groups does (kernels/rotation.h).
void rotate_group_avx512(float * values);

}  // namespace ltx
