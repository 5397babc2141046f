// What a processor of x86-64 has, asked by the instruction itself: __builtin_cpu_supports has no word for some of it in
// some compilers, and zig's answers no to all (0.17.1, where its runtime library stands in for the one of LLVM).
#pragma once

#if defined(__x86_64__)

#include <cpuid.h>

namespace ltx {

// False too where the operating system does not keep the registers of an instruction.
struct X86Features {
    bool ssse3, sse4_1, sse4_2, popcnt;
    bool avx, f16c, fma, avx2, bmi2, avx_vnni;
    bool avx512f, avx512cd, avx512bw, avx512dq, avx512vl, avx512_vbmi, avx512_vnni, avx512_bf16;
    // Of matrix registers, which the operating system hands out besides.
    bool amx_tile, amx_bf16, amx_int8;
};

inline X86Features ask_x86_features() {
    struct Leaf {
        unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    };
    const auto bit = [](unsigned word, unsigned number) { return (word >> number & 1) != 0; };
    const auto leaf = [](unsigned number, unsigned part) {
        Leaf found;
        if (!__get_cpuid_count(number, part, &found.eax, &found.ebx, &found.ecx, &found.edx)) {
            return Leaf{};
        }
        return found;
    };
    const Leaf basic = leaf(1, 0);
    const Leaf extended = leaf(7, 0);
    // Beyond the last part that there is, processors answer anything.
    const Leaf later = extended.eax >= 1 ? leaf(7, 1) : Leaf{};
    unsigned kept = 0;
    constexpr unsigned kOsxsave = 27;
    if (bit(basic.ecx, kOsxsave)) {
        unsigned upper = 0;
        __asm__ volatile("xgetbv" : "=a"(kept), "=d"(upper) : "c"(0));
    }
    // Registers of 16 and 32 bytes; and masks and registers of 64 bytes.
    const bool wide = (kept & 0x6) == 0x6;
    const bool widest = wide && (kept & 0xe0) == 0xe0;
    const bool avx512 = widest && bit(extended.ebx, 16);
    X86Features has{};
    has.ssse3 = bit(basic.ecx, 9);
    has.sse4_1 = bit(basic.ecx, 19);
    has.sse4_2 = bit(basic.ecx, 20);
    has.popcnt = bit(basic.ecx, 23);
    has.bmi2 = bit(extended.ebx, 8);
    has.avx = wide && bit(basic.ecx, 28);
    has.f16c = has.avx && bit(basic.ecx, 29);
    has.fma = has.avx && bit(basic.ecx, 12);
    has.avx2 = has.avx && bit(extended.ebx, 5);
    has.avx_vnni = has.avx2 && bit(later.eax, 4);
    has.avx512f = avx512;
    has.avx512dq = avx512 && bit(extended.ebx, 17);
    has.avx512cd = avx512 && bit(extended.ebx, 28);
    has.avx512bw = avx512 && bit(extended.ebx, 30);
    has.avx512vl = avx512 && bit(extended.ebx, 31);
    has.avx512_vbmi = avx512 && bit(extended.ecx, 1);
    has.avx512_vnni = avx512 && bit(extended.ecx, 11);
    has.avx512_bf16 = avx512 && bit(later.eax, 5);
    has.amx_bf16 = bit(extended.edx, 22);
    has.amx_tile = bit(extended.edx, 24);
    has.amx_int8 = bit(extended.edx, 25);
    return has;
}

inline const X86Features & x86_features() {
    static const X86Features found = ask_x86_features();
    return found;
}

}  // namespace ltx

#endif
