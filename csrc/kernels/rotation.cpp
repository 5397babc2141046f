#include "kernels/rotation.h"

#include "kernels/simd.h"

namespace ltx {

namespace {

// One factor of the rotation after the other: fours of values that lie 1, 4, 16 ... apart.
LTX_TARGET_CLONES void rotate_group(float * values, int64_t group) {
    for (int64_t step = 1; step < group; step *= 4) {
        for (int64_t first = 0; first < group; first += 4 * step) {
            float * __restrict const a = values + first;
            float * __restrict const b = a + step;
            float * __restrict const c = b + step;
            float * __restrict const d = c + step;
            for (int64_t i = 0; i < step; ++i) {
                const float w = a[i];
                const float x = b[i];
                const float y = c[i];
                const float z = d[i];
                const float half = 0.5f * ((w + x) + (y + z));
                a[i] = half - z;
                b[i] = half - y;
                c[i] = half - x;
                d[i] = half - w;
            }
        }
    }
}

}  // namespace

void rotate_groups(int64_t group, std::span<float> values) {
    for (size_t begin = 0; begin < values.size(); begin += static_cast<size_t>(group)) {
        rotate_group(values.data() + begin, group);
    }
}

}  // namespace ltx
