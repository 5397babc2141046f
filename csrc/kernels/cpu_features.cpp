#include "kernels/cpu_features.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace ltx {

#if defined(__x86_64__) && defined(__linux__)

namespace {

struct Leaf {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// Of CPUID 7; empty where there is no such leaf.
Leaf leaf_7(unsigned part) {
    Leaf leaf;
    if (!__get_cpuid_count(7, part, &leaf.eax, &leaf.ebx, &leaf.ecx, &leaf.edx)) {
        return {};
    }
    return leaf;
}

// The kernel hands out the eight kilobytes of matrix registers to processes that ask (arch/x86, xstate.rst).
bool may_use_tiles() {
    constexpr unsigned kAmxTileBit = 1u << 24;  // of EDX
    constexpr long kRequestPermission = 0x1023;
    constexpr long kTileState = 18;
    return (leaf_7(0).edx & kAmxTileBit) && syscall(SYS_arch_prctl, kRequestPermission, kTileState) == 0;
}

}  // namespace

bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

bool has_avx512_bf16() {
    return has_avx512() && (leaf_7(1).eax & (1u << 5));
}

bool has_avx512_vnni() {
    return has_avx512() && (leaf_7(0).ecx & (1u << 11));
}

bool has_avx_vnni() {
    return __builtin_cpu_supports("avx2") && (leaf_7(1).eax & (1u << 4));
}

bool may_use_amx_bf16() {
    return has_avx512_bf16() && (leaf_7(0).edx & (1u << 22)) && may_use_tiles();
}

bool may_use_amx_int8() {
    return has_avx512() && (leaf_7(0).edx & (1u << 25)) && may_use_tiles();
}

#else

bool has_avx512() {
    return false;
}

bool has_avx512_bf16() {
    return false;
}

bool has_avx512_vnni() {
    return false;
}

bool has_avx_vnni() {
    return false;
}

bool may_use_amx_bf16() {
    return false;
}

bool may_use_amx_int8() {
    return false;
}

#endif

bool has_neon_dotprod() {
#if defined(__aarch64__) && defined(__linux__)
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return false;
#endif
}

}  // namespace ltx
