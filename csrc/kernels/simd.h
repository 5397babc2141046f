// Run-time choice between instruction sets for our own loops, without a line of intrinsics.
#pragma once

#include <cstdint>

// LTX_TARGET_CLONES before a function definition compiles it once per x86-64 level; the loader picks the best one the
// CPU runs. Elsewhere, and where the compiler was told a level already (-march=native), it is empty.
//
// Rules for such a function: no template, not inline, internal linkage (anonymous namespace); it takes a whole row or
// more, because the call goes through the dynamic linker's table. What it calls has to be LTX_ALWAYS_INLINE (lambdas
// and plain inline functions may stay calls to baseline code). Sums must name their lanes themselves (kLanes), because
// float addition is not reordered for the compiler's sake. Results differ in the last bits between levels (fused
// multiply-add).
//
// gcc splits a clone's name at commas, so "avx2,fma" would be two clones; the levels x86-64-v3 (AVX2, FMA) and v4
// (AVX-512) exist since gcc 12. Clang 22 has been tried, none before it; where its runtime library knows no processor,
// kernels/cpu_model.cpp stands in. The sanitizers cannot run code as early as the choice is made.
#if defined(__clang__)
#define LTX_CLONES_LEVELS (__clang_major__ >= 22)
#else
#define LTX_CLONES_LEVELS (__GNUC__ >= 12)
#endif
#if defined(__x86_64__) && defined(__GLIBC__) && LTX_CLONES_LEVELS && !defined(__AVX2__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LTX_TARGET_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define LTX_TARGET_CLONES
#endif

#if defined(__GNUC__)
#define LTX_ALWAYS_INLINE [[gnu::always_inline]] inline
#else
#define LTX_ALWAYS_INLINE inline
#endif

namespace ltx {

// Independent partial sums of a reduction: one AVX-512 register, two of AVX2, four of SSE.
inline constexpr int64_t kLanes = 16;

// A pairwise sum of the lanes.
LTX_ALWAYS_INLINE float sum_lanes(const float (&lanes)[kLanes]) {
    float partial[kLanes / 2];
    for (int64_t i = 0; i < kLanes / 2; ++i) {
        partial[i] = lanes[i] + lanes[i + kLanes / 2];
    }
    for (int64_t width = kLanes / 4; width > 0; width /= 2) {
        for (int64_t i = 0; i < width; ++i) {
            partial[i] += partial[i + width];
        }
    }
    return partial[0];
}

}  // namespace ltx
