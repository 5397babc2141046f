// The part of the text encoder that writes: logits of the next token, with the keys and values of the earlier ones
// kept.

#include <algorithm>

#include "base/error.h"
#include "graph/not_finite.h"
#include "networks/text_encoder.h"

namespace ltx {

namespace {

// Keys and values of so many tokens fit into addresses many times over.
constexpr int64_t kMaxCapacity = int64_t{1} << 20;

// Of the keys of a token, in each layer that has its own.
std::vector<int64_t> widths_of(const Gemma3Config & c) {
    return std::vector<int64_t>(static_cast<size_t>(c.num_layers), c.num_kv_heads * c.head_dim);
}

std::vector<int64_t> widths_of(const Gemma4Config & c) {
    std::vector<int64_t> widths;
    for (int64_t i = 0; i < c.num_layers - c.shared_layers; ++i) {
        const Gemma4Heads & heads = c.global_layers[static_cast<size_t>(i)] ? c.global : c.local;
        widths.push_back(heads.num_kv_heads * heads.head_dim);
    }
    return widths;
}

float softcap_of(const Gemma3Config &) {
    return 0.0f;
}

float softcap_of(const Gemma4Config & config) {
    return config.final_logit_softcap;
}

// c tanh(x / c), which keeps the order.
ggml_tensor * bounded(ggml_context * ctx, ggml_tensor * x, float cap) {
    ggml_tensor * y = ggml_scale(ctx, ggml_tanh(ctx, ggml_scale(ctx, x, 1.0f / cap)), cap);
    return where_finite(ctx, y, x);
}

}  // namespace

std::vector<int64_t> TextEncoderNetwork::key_widths() const {
    return std::visit([](const auto & gemma) { return widths_of(gemma.config); }, model().gemma);
}

ggml_type TextEncoderNetwork::key_type() const {
    const auto * weight =
        std::visit([](const auto & gemma) { return gemma.layers.front().q_proj.weight; }, model().gemma);
    const Products products = backend().products();
    const bool own = products == Products::Own || products == Products::Device;
    const bool rounds = own && activation_type(weight) == GGML_TYPE_BF16;
    return rounds ? GGML_TYPE_BF16 : GGML_TYPE_F32;
}

TokenCache TextEncoderNetwork::make_cache(int64_t capacity, bool measuring) const {
    if (capacity < 1 || capacity > kMaxCapacity) {
        throw ArgumentError("open_cache: capacity is ", capacity, ", expected 1 to ", kMaxCapacity);
    }
    return TokenCache(shared_backend(), key_widths(), key_type(), capacity, measuring);
}

std::unique_ptr<TokenCache> TextEncoderNetwork::open_cache(int64_t capacity) {
    const auto turn = take_turn();
    // The type of the keys follows that of the loaded weights.
    load_weights();
    return std::make_unique<TokenCache>(make_cache(capacity, /*measuring=*/false));
}

void TextEncoderNetwork::build_prediction(Graph & graph, const TokenCache & cache, const TokenSpan & span) const {
    std::visit(
        [&](const auto & gemma) {
            if (is_on_host(gemma.embed_tokens)) {
                throw UnsupportedError(
                    "the text encoder writes with its table of ", ggml_nbytes(gemma.embed_tokens) >> 20,
                    " MiB, and device '", backend().name(),
                    "' takes no tensor that large; use another device for prompts that are written out");
            }
            auto in = inputs_of(graph, gemma, span);
            in.kept = {cache.layers(), span.keys};
            gemma.build(graph, in, [&](int64_t index, ggml_tensor * state) {
                if (index < gemma.config.num_layers) {
                    return;
                }
                ggml_context * ctx = graph.ctx();
                ggml_tensor * last = ggml_view_2d(ctx, state, state->ne[0], 1, state->nb[1],
                                                  static_cast<size_t>(span.count - 1) * state->nb[1]);
                ggml_tensor * logits = linear(graph, gemma.embed_tokens, last);  // ne: [vocab]
                const float cap = softcap_of(gemma.config);
                graph.output("logits", cap > 0.0f ? bounded(ctx, logits, cap) : logits);
            });
        },
        model().gemma);
}

HostTensor TextEncoderNetwork::predict(TokenCache & cache, std::span<const int32_t> ids) {
    const auto turn = take_turn();
    check_ids("predict", ids);
    load_weights();
    const auto count = static_cast<int64_t>(ids.size());
    if (!cache.fits(key_widths(), key_type())) {
        throw ArgumentError("predict: the cache was made for another text encoder");
    }
    const int64_t end = cache.tokens() + count;
    if (end > cache.capacity()) {
        throw ArgumentError("predict: ", count, " tokens after ", cache.tokens(), " do not fit into a cache of ",
                            cache.capacity());
    }
    const TokenSpan span{.first = cache.tokens(), .count = count, .keys = cache.rows_for(end)};
    runner().prepare(cache.name() + " " + std::to_string(count) + " " + std::to_string(span.keys), {},
                     [&](Graph & graph) { build_prediction(graph, cache, span); });
    std::visit([&](const auto & gemma) { set_inputs(runner(), gemma, ids, span); }, model().gemma);
    compute_graph();
    HostTensor logits = runner().fetch("logits");
    cache.append(count);
    return logits;
}

NetworkMemory TextEncoderNetwork::measure_prediction(int64_t prompt_tokens, int64_t capacity) {
    const auto turn = take_turn();
    NetworkMeter sum = meter();
    const TokenCache cache = make_cache(capacity, /*measuring=*/true);
    if (prompt_tokens < 1 || prompt_tokens > capacity) {
        throw ArgumentError("measure_prediction: prompt_tokens is ", prompt_tokens, ", expected 1 to ", capacity);
    }
    for (const TokenSpan & span : {TokenSpan{.count = prompt_tokens, .keys = cache.rows_for(prompt_tokens)},
                                   TokenSpan{.first = capacity - 1, .count = 1, .keys = capacity}}) {
        sum.add(runner().measure({}, [&](Graph & graph) { build_prediction(graph, cache, span); }));
    }
    sum.set_state_bytes(cache.size_bytes());
    return sum.total();
}

}  // namespace ltx
