// Convolutions along time that keep the length, and those that multiply it, in exact float32.
#pragma once

#include "ops/conv/conv.h"
#include "weights/weight_store.h"

namespace ltx {

// What is applied to the inputs first.
struct InputActivation {
    ConvActivation kind = ConvActivation::None;
    float value = 0.0f;
};

struct Conv1d {
    ggml_tensor * weight = nullptr;  // ne: [out, in, taps]
    ggml_tensor * bias = nullptr;    // ne: [out]; null where there is none
    int32_t taps = 1;
    int32_t dilation = 1;

    struct Options {
        int64_t in;
        int64_t out;
        int64_t taps;  // odd
        int64_t dilation = 1;
        bool bias = true;
    };
    static Conv1d load(const Scope & scope, const Options & options);

    // x: F32 [in, T]; residual: F32 [out, T], added to the result, or null. -> F32 [out, T], zero padded.
    ggml_tensor * build(Graph & graph, ggml_tensor * x, const InputActivation & activation = {},
                        ggml_tensor * residual = nullptr) const;
};

struct ConvTranspose1d {
    ggml_tensor * weight = nullptr;  // ne: [out, in, taps]
    ggml_tensor * bias = nullptr;    // ne: [out]
    int32_t rate = 1;

    static ConvTranspose1d load(const Scope & scope, int64_t in, int64_t out, int64_t taps, int64_t rate);

    // x: F32 [in, T] -> F32 [out, T * rate]
    ggml_tensor * build(Graph & graph, ggml_tensor * x, const InputActivation & activation = {}) const;
};

}  // namespace ltx
