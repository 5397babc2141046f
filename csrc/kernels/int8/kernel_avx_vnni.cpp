// Built for AVX-VNNI, see csrc/CMakeLists.txt; called only where the CPU has it.
#include "kernels/int8/int8_kernels.h"
#include "kernels/int8/quads.h"

#if defined(LTX_INT8_KERNELS)

#include <immintrin.h>

namespace ltx {

namespace {

struct Vectors {
    static constexpr uint32_t kFlip = kNoSign;
    struct Lanes {
        __m256i low;
        __m256i high;
    };
    static Lanes load(const void * from) {
        const auto * half = static_cast<const __m256i *>(from);
        return {_mm256_load_si256(half), _mm256_load_si256(half + 1)};
    }
    static void store(void * to, Lanes lanes) {
        auto * half = static_cast<__m256i *>(to);
        _mm256_store_si256(half, lanes.low);
        _mm256_store_si256(half + 1, lanes.high);
    }
    static Lanes all(uint32_t value) {
        const __m256i half = _mm256_set1_epi32(static_cast<int>(value));
        return {half, half};
    }
    static Lanes minus(Lanes a, Lanes b) { return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)}; }
    static Lanes add_products(Lanes sum, Lanes columns, Lanes numbers) {
        return {_mm256_dpbusd_avx_epi32(sum.low, columns.low, numbers.low),
                _mm256_dpbusd_avx_epi32(sum.high, columns.high, numbers.high)};
    }
};

}  // namespace

// 6 rows of a tile take twelve of 16 registers, its columns two and a row one.
const Int8Kernel kInt8AvxVnni = vector_kernel<Vectors, 6, 1>("avx_vnni");

}  // namespace ltx

#endif
