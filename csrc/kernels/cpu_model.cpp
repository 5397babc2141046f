// What clones of functions (kernels/simd.h) ask about the processor, for compilers whose runtime library has only a
// stand-in that answers no to all, as zig's does (0.17.1); csrc/CMakeLists.txt looks. Names and bits are those of
// LLVM's runtime library, of which this is what clones for levels of x86-64 read.

#include "base/cpuid.h"

namespace {

struct CpuModel {
    unsigned vendor, type, subtype, features[1];
};

constexpr unsigned kFirstOfLastWord = 96;
constexpr unsigned kLevel2 = 96;
constexpr unsigned kLevel3 = 97;
constexpr unsigned kLevel4 = 98;

}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" {

[[gnu::visibility("hidden")]] CpuModel __cpu_model{};
// Bits from the 32nd on.
[[gnu::visibility("hidden")]] unsigned __cpu_features2[4]{};

// Runs while the dynamic linker loads the module, so nothing of other libraries may be called.
[[gnu::visibility("hidden")]] int __cpu_indicator_init() {
    const ltx::X86Features has = ltx::ask_x86_features();
    const bool level2 = has.ssse3 && has.sse4_1 && has.sse4_2 && has.popcnt;
    const bool level3 = level2 && has.avx2 && has.fma && has.f16c && has.bmi2;
    const bool level4 = level3 && has.avx512f && has.avx512bw && has.avx512cd && has.avx512dq && has.avx512vl;
    const auto bit = [](bool set, unsigned number) { return unsigned{set} << (number - kFirstOfLastWord); };
    __cpu_features2[2] = bit(level2, kLevel2) | bit(level3, kLevel3) | bit(level4, kLevel4);
    return 0;
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier)
