#include "runtime/processor.h"

#include <string>

#include "base/cpuid.h"
#include "base/error.h"
#include "ggml-cpu.h"

namespace ltx {

#if defined(__x86_64__)

namespace {

struct Instructions {
    const char * name;
    bool needed;
    bool present;
};

}  // namespace

void check_processor() {
    const X86Features & has = x86_features();
    const Instructions all[] = {
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
    std::string lacking;
    for (const Instructions & each : all) {
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
