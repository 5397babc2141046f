// Keys and values of the tokens of a text so far, kept between runs so that the next token is computed alone.
#pragma once

#include <span>

#include "nn/attention.h"

namespace ltx {

// Of one layer: rows by position, in memory that outlives graphs.
struct LayerCache {
    ggml_tensor * keys;    // F32 or BF16 [head_dim * heads, capacity]
    ggml_tensor * values;  // the same
};

struct KeptTokens {
    std::span<const LayerCache> layers;  // empty: nothing is kept
    int64_t length = 0;                  // rows that attention reads; masks hide those that are not written yet
};

// Writes the keys and values of a run's tokens to the rows that `positions` (I32 [tokens]) names, and returns the
// inputs of attention with the first `length` rows in their place. Rows have to hold finite numbers from the start,
// because a key that weighs nothing is multiplied all the same.
HeadInputs keep_tokens(Graph & graph, const LayerCache & cache, int64_t length, ggml_tensor * positions, HeadInputs in);

}  // namespace ltx
