// y = W x + b, in the arithmetic of the type that W is held in, with what LoRAs add to W beside it.
#pragma once

#include <optional>

#include "graph/graph.h"
#include "ops/int8_linear/int8_linear.h"
#include "ops/linear/linear.h"
#include "weights/weight_store.h"

namespace ltx {

struct Linear {
    ggml_tensor * weight = nullptr;  // ne: [in, out]
    ggml_tensor * bias = nullptr;    // ne: [out], or null

    std::optional<LowRank> low_rank;
    std::optional<RotatedRows> rotated;  // where the weight may be held as I8

    // Claims "weight" (out, in) and, if wanted, "bias" (out).
    static Linear load(const Scope & scope, int64_t in, int64_t out, bool with_bias = true);

    // x: [in, tokens] -> [out, tokens], see ops/linear. The epilogue's bias is this layer's.
    ggml_tensor * build(Graph & graph, ggml_tensor * x, LinearEpilogue epilogue = {}) const;

    // W x and what the epilogue says, without LoRAs.
    ggml_tensor * product(Graph & graph, ggml_tensor * x, const LinearEpilogue & epilogue) const;

    // The layer that gives `count` of the outputs from number `first` on.
    Linear outputs(Graph & graph, int64_t first, int64_t count) const;

    // x as this layer's product takes it, to be shared with other layers of the same input.
    ggml_tensor * round_input(Graph & graph, ggml_tensor * x) const { return round_for_products(graph, x, weight); }
};

}  // namespace ltx
