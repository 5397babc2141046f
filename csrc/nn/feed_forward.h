// Linear, GELU (tanh form), Linear; the inner width is four times the outer one.
// Source: the feed-forward of ltx-core's attention blocks (names "net.0.proj", "net.2").
#pragma once

#include "nn/linear.h"

namespace ltx {

struct FeedForward {
    Linear up;
    Linear down;

    static FeedForward load(const Scope & scope, int64_t width, bool with_bias);

    // x: [width, tokens] -> [width, tokens]. `epilogue` as in ops/linear, applied to the result.
    ggml_tensor * build(Graph & graph, ggml_tensor * x, const LinearEpilogue & epilogue = {}) const;
};

}  // namespace ltx
