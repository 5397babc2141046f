// y = W x + b, with what LoRAs add to W beside it.
#pragma once

#include <optional>

#include "graph/graph.h"
#include "weights/weight_store.h"

namespace ltx {

struct Linear {
    ggml_tensor * weight = nullptr;  // ne: [in, out]
    ggml_tensor * bias = nullptr;    // ne: [out], or null

    std::optional<LowRank> low_rank;

    // Claims "weight" (out, in) and, if wanted, "bias" (out).
    static Linear load(const Scope & scope, int64_t in, int64_t out, bool with_bias = true);

    // x: [in, tokens] -> [out, tokens]
    ggml_tensor * build(Graph & graph, ggml_tensor * x) const;

    // The product alone, for callers that fuse the bias with what follows.
    ggml_tensor * build_product(Graph & graph, ggml_tensor * x) const;
};

}  // namespace ltx
