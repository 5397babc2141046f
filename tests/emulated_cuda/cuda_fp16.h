// binary16 as the kernels use it, for emulation.h.
#pragma once

#include "ggml.h"

struct __half {
    ggml_fp16_t bits;
};

inline float __half2float(__half value) {
    return ggml_fp16_to_fp32(value.bits);
}

inline __half __float2half(float value) {
    return {ggml_fp32_to_fp16(value)};
}
