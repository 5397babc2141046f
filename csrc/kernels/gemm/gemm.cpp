#include "kernels/gemm/gemm.h"

#include <array>
#include <atomic>
#include <bit>

#include "base/cpuid.h"
#include "kernels/cpu_features.h"
#include "kernels/gemm/gemm_kernels.h"
#include "kernels/simd.h"

namespace ltx {

namespace {

struct Kernels {
    std::array<const GemmKernel *, 3> found{};
    size_t count = 0;

    std::span<const GemmKernel * const> all() const { return {found.data(), count}; }
};

Kernels find_kernels() {
    Kernels kernels;
#if defined(LTX_GEMM_KERNELS)
    if (may_use_amx_bf16()) {
        kernels.found[kernels.count++] = &kGemmAmx;
    }
    if (has_avx512_bf16()) {
        kernels.found[kernels.count++] = &kGemmAvx512;
    }
#endif
    return kernels;
}

Kernels find_float_kernels() {
    Kernels kernels;
#if defined(__x86_64__)
    if (has_avx512()) {
        kernels.found[kernels.count++] = &kGemmAvx512f;
    }
    if (x86_features().avx2 && x86_features().fma) {
        kernels.found[kernels.count++] = &kGemmAvx2;
    }
#endif
    kernels.found[kernels.count++] = &kGemmPlain;
    return kernels;
}

}  // namespace

std::span<const GemmKernel * const> gemm_kernels() {
    static const Kernels kernels = find_kernels();
    return kernels.all();
}

std::span<const GemmKernel * const> float_kernels() {
    static const Kernels kernels = find_float_kernels();
    return kernels.all();
}

namespace {

std::atomic<const GemmKernel *> & chosen_kernel() {
    static std::atomic<const GemmKernel *> chosen = gemm_kernels().empty() ? nullptr : gemm_kernels().front();
    return chosen;
}

}  // namespace

const GemmKernel * gemm_kernel() {
    return chosen_kernel().load(std::memory_order_relaxed);
}

void choose_gemm_kernel(const GemmKernel & kernel) {
    chosen_kernel().store(&kernel, std::memory_order_relaxed);
}

namespace {

LTX_TARGET_CLONES
void round_row(const float * __restrict values, Bf16 * __restrict rounded, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        const auto bits = std::bit_cast<uint32_t>(values[i]);
        const uint32_t nearest = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
        const uint32_t quiet_nan = (bits >> 16) | 0x40u;
        rounded[i] = static_cast<Bf16>((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : nearest);
    }
}

}  // namespace

void to_bf16(const float * values, Bf16 * rounded, int64_t count) {
    round_row(values, rounded, count);
}

}  // namespace ltx
