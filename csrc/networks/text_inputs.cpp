#include "networks/text_inputs.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "nn/embedding.h"

namespace ltx {

namespace {

// The query at position i sees key j where j <= i and i - j < window. (queries, keys)
std::vector<ggml_fp16_t> make_mask(const TokenSpan & span, int64_t window) {
    const ggml_fp16_t seen = ggml_fp32_to_fp16(0.0f);
    const ggml_fp16_t hidden = ggml_fp32_to_fp16(-std::numeric_limits<float>::infinity());
    std::vector<ggml_fp16_t> mask(static_cast<size_t>(span.count * span.keys), hidden);
    for (int64_t row = 0; row < span.count; ++row) {
        const int64_t i = span.first + row;
        for (int64_t j = std::max<int64_t>(0, i - window + 1); j <= i; ++j) {
            mask[static_cast<size_t>(row * span.keys + j)] = seen;
        }
    }
    return mask;
}

// The inputs that both families take.
template <typename Inputs>
Inputs token_inputs(Graph & graph, const TokenSpan & span, int64_t window) {
    Inputs in{};
    in.ids = graph.input("ids", GGML_TYPE_I32, {span.count, 1, 1, 1});
    in.positions = graph.input("positions", GGML_TYPE_I32, {span.count, 1, 1, 1});
    in.causal_mask = graph.input("causal_mask", GGML_TYPE_F16, {span.keys, span.count, 1, 1});
    if (span.keys > window) {
        in.window_mask = graph.input("window_mask", GGML_TYPE_F16, {span.keys, span.count, 1, 1});
    }
    return in;
}

template <typename T>
void set_bytes(Runner & runner, const char * input, const std::vector<T> & values) {
    runner.set(input, values.data(), values.size() * sizeof(T));
}

void set_positions(Runner & runner, const TokenSpan & span, int64_t window) {
    std::vector<int32_t> positions(static_cast<size_t>(span.count));
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(span.first));
    runner.set("positions", positions);
    set_bytes(runner, "causal_mask", make_mask(span, span.keys));
    if (span.keys > window) {
        set_bytes(runner, "window_mask", make_mask(span, window));
    }
}

void set_embedded(Runner & runner, const char * name, const ggml_tensor * table, std::span<const int32_t> ids) {
    if (table && is_on_host(table)) {
        runner.set(name, embedded_rows(table, ids));
    }
}

}  // namespace

Gemma3Inputs inputs_of(Graph & graph, const Gemma3 & gemma, const TokenSpan & span) {
    return token_inputs<Gemma3Inputs>(graph, span, gemma.config.sliding_window);
}

Gemma4Inputs inputs_of(Graph & graph, const Gemma4 & gemma, const TokenSpan & span) {
    const Gemma4Config & config = gemma.config;
    auto in = token_inputs<Gemma4Inputs>(graph, span, config.sliding_window);
    in.local_divisors = graph.input("local_divisors", GGML_TYPE_F32, {config.local.head_dim / 2, 1, 1, 1});
    in.global_divisors = graph.input("global_divisors", GGML_TYPE_F32, {config.global.head_dim / 2, 1, 1, 1});
    return in;
}

void set_inputs(Runner & runner, const Gemma3 & gemma, std::span<const int32_t> ids, const TokenSpan & span) {
    runner.set("ids", ids.data(), ids.size_bytes());
    set_embedded(runner, "embed_tokens", gemma.embed_tokens, ids);
    set_positions(runner, span, gemma.config.sliding_window);
}

void set_inputs(Runner & runner, const Gemma4 & gemma, std::span<const int32_t> ids, const TokenSpan & span) {
    const Gemma4Config & config = gemma.config;
    std::vector<int32_t> embedded(ids.begin(), ids.end());
    for (const int32_t placeholder : config.placeholder_ids) {
        std::replace(embedded.begin(), embedded.end(), placeholder, config.pad_id);
    }
    runner.set("ids", embedded);
    set_embedded(runner, "embed_tokens", gemma.embed_tokens, embedded);
    set_embedded(runner, "embed_tokens_per_layer", gemma.embed_tokens_per_layer, embedded);
    set_positions(runner, span, config.sliding_window);
    set_bytes(runner, "local_divisors", rope_divisors(config.local));
    set_bytes(runner, "global_divisors", rope_divisors(config.global));
}

}  // namespace ltx
