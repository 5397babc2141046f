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
    __builtin_cpu_init();
    const Instructions all[] = {
        {"SSE4.2", ggml_cpu_has_ssse3() != 0, __builtin_cpu_supports("sse4.2") != 0},
        {"SSSE3", ggml_cpu_has_ssse3() != 0, __builtin_cpu_supports("ssse3") != 0},
        {"AVX", ggml_cpu_has_avx() != 0, __builtin_cpu_supports("avx") != 0},
        {"F16C", ggml_cpu_has_f16c() != 0, has_f16c()},
        {"AVX2", ggml_cpu_has_avx2() != 0, __builtin_cpu_supports("avx2") != 0},
        {"FMA", ggml_cpu_has_fma() != 0, __builtin_cpu_supports("fma") != 0},
        {"BMI2", ggml_cpu_has_bmi2() != 0, __builtin_cpu_supports("bmi2") != 0},
        {"AVX-VNNI", ggml_cpu_has_avx_vnni() != 0, has_avx_vnni()},
        {"AVX-512", ggml_cpu_has_avx512() != 0, __builtin_cpu_supports("avx512f") != 0},
        {"AVX-512 VBMI", ggml_cpu_has_avx512_vbmi() != 0, __builtin_cpu_supports("avx512vbmi") != 0},
        {"AVX-512 VNNI", ggml_cpu_has_avx512_vnni() != 0, __builtin_cpu_supports("avx512vnni") != 0},
        {"AVX-512 BF16", ggml_cpu_has_avx512_bf16() != 0, __builtin_cpu_supports("avx512bf16") != 0},
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
