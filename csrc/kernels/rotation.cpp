#include "kernels/rotation.h"

#include "kernels/cpu_features.h"
#include "kernels/int8/int8_kernels.h"
#include "kernels/simd.h"

namespace ltx {

namespace {

// One factor of the rotation: fours of values that lie `step` apart.
LTX_ALWAYS_INLINE void rotate_fours(float * values, int64_t count, int64_t step) {
    for (int64_t first = 0; first < count; first += 4 * step) {
        float * const of_four = values + first;
#pragma GCC ivdep
        for (int64_t i = 0; i < step; ++i) {
            const float w = of_four[i];
            const float x = of_four[i + step];
            const float y = of_four[i + 2 * step];
            const float z = of_four[i + 3 * step];
            const float half = 0.5f * ((w + x) + (y + z));
            of_four[i] = half - z;
            of_four[i + step] = half - y;
            of_four[i + 2 * step] = half - x;
            of_four[i + 3 * step] = half - w;
        }
    }
}

// The steps of the usual group are told, because only then are short ones made of vectors.
LTX_TARGET_CLONES void rotate_row(float * values, int64_t count, int64_t group) {
    for (int64_t begin = 0; begin < count; begin += group) {
        float * const of_group = values + begin;
        int64_t step = 1;
        if (group >= kRotationGroup) {
            rotate_fours(of_group, group, 1);
            rotate_fours(of_group, group, 4);
            rotate_fours(of_group, group, 16);
            rotate_fours(of_group, group, 64);
            step = kRotationGroup;
        }
        for (; step < group; step *= 4) {
            rotate_fours(of_group, group, step);
        }
    }
}

}  // namespace

void rotate_groups(int64_t group, std::span<float> values) {
#if defined(LTX_INT8_KERNELS)
    // Clang's vectors for short steps take half as long again as gcc's.
    static const bool in_registers = has_avx512_vnni();
    if (in_registers && group == kRotationGroup) {
        for (size_t begin = 0; begin < values.size(); begin += kRotationGroup) {
            rotate_group_avx512(values.data() + begin);
        }
        return;
    }
#endif
    rotate_row(values.data(), static_cast<int64_t>(values.size()), group);
}

}  // namespace ltx
