#include "kernels/cpu_features.h"

#include "base/cpuid.h"

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace ltx {

#if defined(__x86_64__) && defined(__linux__)

namespace {

// The kernel hands out the eight kilobytes of matrix registers to processes that ask (arch/x86, xstate.rst).
bool may_use_tiles() {
    constexpr long kRequestPermission = 0x1023;
    constexpr long kTileState = 18;
    return x86_features().amx_tile && syscall(SYS_arch_prctl, kRequestPermission, kTileState) == 0;
}

}  // namespace

bool has_avx512() {
    const X86Features & has = x86_features();
    return has.avx512f && has.avx512bw && has.avx512vl && has.avx512dq;
}

bool has_avx512_bf16() {
    return has_avx512() && x86_features().avx512_bf16;
}

bool has_avx512_vnni() {
    return has_avx512() && x86_features().avx512_vnni;
}

bool has_avx_vnni() {
    return x86_features().avx_vnni;
}

bool may_use_amx_bf16() {
    return has_avx512_bf16() && x86_features().amx_bf16 && may_use_tiles();
}

bool may_use_amx_int8() {
    return has_avx512() && x86_features().amx_int8 && may_use_tiles();
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
