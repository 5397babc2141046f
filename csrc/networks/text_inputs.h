// What a run of a text model takes beside weights: ids, positions and masks.
#pragma once

#include <cstdint>
#include <span>

#include "models/gemma3/gemma3.h"
#include "models/gemma4/gemma4.h"
#include "runtime/runner.h"

namespace ltx {

// Tokens that one run takes, as part of a text.
struct TokenSpan {
    int64_t first = 0;  // position of the first one
    int64_t count;
    int64_t keys;  // positions that they may look at
};

// A prompt that is a text of its own.
inline TokenSpan whole(int64_t tokens) {
    return {.count = tokens, .keys = tokens};
}

// Declares them; what is kept of earlier tokens is left empty.
Gemma3Inputs inputs_of(Graph & graph, const Gemma3 & gemma, const TokenSpan & span);
Gemma4Inputs inputs_of(Graph & graph, const Gemma4 & gemma, const TokenSpan & span);

// Fills them for a run. `ids` has span.count entries.
void set_inputs(Runner & runner, const Gemma3 & gemma, std::span<const int32_t> ids, const TokenSpan & span);
void set_inputs(Runner & runner, const Gemma4 & gemma, std::span<const int32_t> ids, const TokenSpan & span);

}  // namespace ltx
