// Noise level to modulation vectors. Source: ltx-core, transformer/adaln.py (AdaLayerNormSingle).
#pragma once

#include "nn/linear.h"

namespace ltx {

struct AdaLayerNormSingle {
    Linear linear_1;  // sinusoid -> width
    Linear linear_2;  // width -> width
    Linear linear;    // width -> rows * width
    int64_t width = 0;
    int64_t rows = 0;

    struct Result {
        ggml_tensor * modulation;  // [width, rows, timesteps]
        ggml_tensor * embedded;    // [width, timesteps]
    };

    // Claims the six tensors below `name`.
    static AdaLayerNormSingle load(const Scope & parent, const std::string & name, int64_t width, int64_t rows);

    // sinusoid: [kTimestepChannels, timesteps]
    Result build(Graph & graph, ggml_tensor * sinusoid) const;

private:
    std::string name_;
};

}  // namespace ltx
