// Instructions that __builtin_cpu_supports does not know in all compilers.
#pragma once

#if defined(__x86_64__)

#include <cpuid.h>

namespace ltx {

inline bool has_f16c() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
}

inline bool has_avx_vnni() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

}  // namespace ltx

#endif
