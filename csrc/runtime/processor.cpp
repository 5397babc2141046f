#include "runtime/processor.h"

#include <string>
#include <vector>

#include "base/cpuid.h"
#include "base/error.h"
#include "ggml-cpu.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace ltx {

#if defined(__x86_64__) || (defined(__aarch64__) && defined(__linux__))

namespace {

struct Instructions {
    const char * name;
    bool needed;
    bool present;
};

#if defined(__x86_64__)

std::vector<Instructions> instructions() {
    const X86Features & has = x86_features();
    return {
        {"SSE4.2", ggml_cpu_has_ssse3() != 0, has.sse4_2},
        {"SSSE3", ggml_cpu_has_ssse3() != 0, has.ssse3},
        {"AVX", ggml_cpu_has_avx() != 0, has.avx},
        {"F16C", ggml_cpu_has_f16c() != 0, has.f16c},
        {"AVX2", ggml_cpu_has_avx2() != 0, has.avx2},
        {"FMA", ggml_cpu_has_fma() != 0, has.fma},
        {"BMI2", ggml_cpu_has_bmi2() != 0, has.bmi2},
        {"AVX-VNNI", ggml_cpu_has_avx_vnni() != 0, has.avx_vnni},
        {"AVX-512", ggml_cpu_has_avx512() != 0, has.avx512f},
        {"AVX-512 VBMI", ggml_cpu_has_avx512_vbmi() != 0, has.avx512_vbmi},
        {"AVX-512 VNNI", ggml_cpu_has_avx512_vnni() != 0, has.avx512_vnni},
        {"AVX-512 BF16", ggml_cpu_has_avx512_bf16() != 0, has.avx512_bf16},
    };
}

#else

// Bits that the kernel sets (arch/arm64, elf_hwcaps.rst); older headers do not name them all.
std::vector<Instructions> instructions() {
    const unsigned long first = getauxval(AT_HWCAP);
    const unsigned long second = getauxval(AT_HWCAP2);
    const auto has = [](unsigned long bits, int bit) { return (bits >> bit & 1) != 0; };
    return {
        {"F16 arithmetic (asimdhp)", ggml_cpu_has_fp16_va() != 0, has(first, 10)},
        {"dot products (asimddp)", ggml_cpu_has_dotprod() != 0, has(first, 20)},
        {"8-bit matrix products (i8mm)", ggml_cpu_has_matmul_int8() != 0, has(second, 13)},
        {"SVE", ggml_cpu_has_sve() != 0, has(first, 22)},
        {"SME", ggml_cpu_has_sme() != 0, has(second, 23)},
    };
}

#endif

}  // namespace

void check_processor() {
    std::string lacking;
    for (const Instructions & each : instructions()) {
        if (each.needed && !each.present) {
            lacking += (lacking.empty() ? "" : ", ") + std::string(each.name);
        }
    }
    if (!lacking.empty()) {
        throw UnsupportedError("this build of ltx2cpp needs instructions that this processor lacks: ", lacking,
                               "; install it from its source on this machine (pip install ., see docs/install.md), "
                               "which builds for the processor it finds");
    }
}

#else

void check_processor() {}

#endif

}  // namespace ltx
