// Built for NEON with dot products, see csrc/CMakeLists.txt; called only where the CPU has them.
#include "kernels/int8/int8_kernels.h"
#include "kernels/int8/quads.h"

#if defined(LTX_INT8_DOTPROD)

#include <arm_neon.h>

namespace ltx {

namespace {

struct Vectors {
    static constexpr uint32_t kFlip = 0;
    struct Lanes {
        int32x4_t quarters[4];
    };
    static Lanes load(const void * from) {
        const auto * quarter = static_cast<const int32_t *>(from);
        return {vld1q_s32(quarter), vld1q_s32(quarter + 4), vld1q_s32(quarter + 8), vld1q_s32(quarter + 12)};
    }
    static void store(void * to, const Lanes & lanes) {
        for (int i = 0; i < 4; ++i) {
            vst1q_s32(static_cast<int32_t *>(to) + 4 * i, lanes.quarters[i]);
        }
    }
    static Lanes all(uint32_t value) {
        const int32x4_t quarter = vreinterpretq_s32_u32(vdupq_n_u32(value));
        return {quarter, quarter, quarter, quarter};
    }
    static Lanes minus(Lanes a, const Lanes & b) {
        for (int i = 0; i < 4; ++i) {
            a.quarters[i] = vsubq_s32(a.quarters[i], b.quarters[i]);
        }
        return a;
    }
    static Lanes add_products(Lanes sum, const Lanes & columns, const Lanes & numbers) {
        for (int i = 0; i < 4; ++i) {
            sum.quarters[i] = vdotq_s32(sum.quarters[i], vreinterpretq_s8_s32(columns.quarters[i]),
                                        vreinterpretq_s8_s32(numbers.quarters[i]));
        }
        return sum;
    }
};

}  // namespace

// 6 rows of a tile take 24 of 32 registers, its columns four and a row one.
const Int8Kernel kInt8Dotprod = vector_kernel<Vectors, 6, 1>("neon_dotprod");

}  // namespace ltx

#endif
