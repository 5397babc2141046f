#include "kernels/gemm/gemm.h"

#include <array>
#include <atomic>
#include <bit>

#include "kernels/gemm/gemm_kernels.h"
#include "kernels/simd.h"

#if defined(LTX_GEMM_KERNELS)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace ltx {

namespace {

struct Kernels {
    std::array<const GemmKernel *, 2> found{};
    size_t count = 0;
};

#if defined(LTX_GEMM_KERNELS)
constexpr unsigned kAmxTileBit = 1u << 24;  // of CPUID 7.0 EDX
constexpr unsigned kAmxBf16Bit = 1u << 22;
constexpr unsigned kAvx512Bf16Bit = 1u << 5;  // of CPUID 7.1 EAX

// The kernel hands out the eight kilobytes of matrix registers to processes that ask (arch/x86, xstate.rst).
bool may_use_tiles() {
    constexpr long kRequestPermission = 0x1023;
    constexpr long kTileState = 18;
    return syscall(SYS_arch_prctl, kRequestPermission, kTileState) == 0;
}

Kernels find_kernels() {
    Kernels kernels;
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (!wide || !__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) || !(eax & kAvx512Bf16Bit)) {
        return kernels;
    }
    __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
    if ((edx & kAmxTileBit) && (edx & kAmxBf16Bit) && may_use_tiles()) {
        kernels.found[kernels.count++] = &kGemmAmx;
    }
    kernels.found[kernels.count++] = &kGemmAvx512;
    return kernels;
}
#else
Kernels find_kernels() {
    return {};
}
#endif

}  // namespace

std::span<const GemmKernel * const> gemm_kernels() {
    static const Kernels kernels = find_kernels();
    return {kernels.found.data(), kernels.count};
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
