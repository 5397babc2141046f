#include "models/gemma4/gemma4.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "nn/attention.h"
#include "nn/embedding.h"

namespace ltx {

namespace {

// An angle divided by it is 0 for any position.
constexpr float kStill = 1e30f;

ggml_tensor * rms(Graph & graph, ggml_tensor * x, ggml_tensor * weight, float eps) {
    return ggml_mul(graph.ctx(), ggml_rms_norm(graph.ctx(), x, eps), weight);
}

void require_positive(int64_t value, const std::string & key) {
    if (value < 1) {
        throw ConfigError("text encoder: ", key, " must be at least 1, found ", value);
    }
}

void require_positive(float value, const std::string & key) {
    if (!(value > 0.0f) || !std::isfinite(value)) {
        throw ConfigError("text encoder: ", key, " must be above 0, found ", value);
    }
}

void check(const Gemma4Heads & heads, const std::string & kind, int64_t num_heads) {
    require_positive(heads.head_dim, kind + " head_dim");
    require_positive(heads.num_kv_heads, kind + " num_kv_heads");
    require_positive(heads.rope_theta, kind + " rope_theta");
    require_positive(heads.rope_factor, kind + " rope_factor");
    if (heads.head_dim % 2 != 0) {
        throw ConfigError("text encoder: ", kind, " head_dim must be even for the rotary embedding, found ",
                          heads.head_dim);
    }
    if (heads.rotated_pairs < 0 || heads.rotated_pairs > heads.head_dim / 2) {
        throw ConfigError("text encoder: ", kind, " rotated_pairs must be 0 to ", heads.head_dim / 2, ", found ",
                          heads.rotated_pairs);
    }
    if (num_heads % heads.num_kv_heads != 0) {
        throw ConfigError("text encoder: num_heads must be a multiple of the ", kind, " num_kv_heads, found ",
                          num_heads, " and ", heads.num_kv_heads);
    }
}

}  // namespace

void check(const Gemma4Config & c) {
    require_positive(c.num_layers, "num_layers");
    require_positive(c.hidden_size, "hidden_size");
    require_positive(c.intermediate_size, "intermediate_size");
    require_positive(c.num_heads, "num_heads");
    require_positive(c.sliding_window, "sliding_window");
    require_positive(c.vocab_size, "vocab_size");
    require_positive(c.rms_norm_eps, "rms_norm_eps");
    require_positive(c.embedding_scale, "embedding_scale");
    check(c.local, "local", c.num_heads);
    check(c.global, "global", c.num_heads);
    if (static_cast<int64_t>(c.global_layers.size()) != c.num_layers) {
        throw ConfigError("text encoder: global_layers lists ", c.global_layers.size(), " layers, expected ",
                          c.num_layers);
    }
    if (c.shared_layers < 0 || c.shared_layers >= c.num_layers) {
        throw ConfigError("text encoder: shared_layers must be 0 to ", c.num_layers - 1, ", found ", c.shared_layers);
    }
    const auto first_shared = c.global_layers.end() - c.shared_layers;
    for (auto kind = first_shared; kind != c.global_layers.end(); ++kind) {
        if (std::find(c.global_layers.begin(), first_shared, *kind) == first_shared) {
            throw ConfigError("text encoder: layer ", kind - c.global_layers.begin(), " shares keys, but no ",
                              *kind ? "global" : "local", " layer has any of its own");
        }
    }
    if (c.shared_layers > 0) {
        require_positive(c.shared_intermediate_size, "shared_intermediate_size");
    }
    if (c.per_layer_width < 0) {
        throw ConfigError("text encoder: per_layer_width must be at least 0, found ", c.per_layer_width);
    }
    if (!(c.final_logit_softcap >= 0.0f) || !std::isfinite(c.final_logit_softcap)) {
        throw ConfigError("text encoder: final_logit_softcap must be at least 0, found ", c.final_logit_softcap);
    }
    if (c.pad_id < 0 || c.pad_id >= c.vocab_size) {
        throw ConfigError("text encoder: pad_id must be 0 to ", c.vocab_size - 1, ", found ", c.pad_id);
    }
}

std::vector<float> rope_divisors(const Gemma4Heads & heads) {
    std::vector<float> divisors(static_cast<size_t>(heads.head_dim / 2), kStill);
    std::fill_n(divisors.begin(), heads.rotated_pairs, heads.rope_factor);
    return divisors;
}

Gemma4PerLayer Gemma4PerLayer::load(const Scope & scope, const Gemma4Config & c) {
    return {
        .input_gate = Linear::load(scope.at("per_layer_input_gate"), c.hidden_size, c.per_layer_width, false),
        .projection = Linear::load(scope.at("per_layer_projection"), c.per_layer_width, c.hidden_size, false),
        .post_norm = scope.require("post_per_layer_input_norm.weight", {c.hidden_size}, WeightKind::Vector),
    };
}

ggml_tensor * Gemma4PerLayer::build(Graph & graph, const Gemma4Config & c, ggml_tensor * x, ggml_tensor * own) const {
    ggml_context * ctx = graph.ctx();
    ggml_tensor * gate = input_gate.build(graph, x, {.gelu = true});           // ne: [per_layer_width, tokens]
    ggml_tensor * branch = projection.build(graph, ggml_mul(ctx, gate, own));  // ne: [hidden, tokens]
    return ggml_add(ctx, x, rms(graph, branch, post_norm, c.rms_norm_eps));
}

Gemma4Layer Gemma4Layer::load(const Scope & scope, const Gemma4Config & c, int64_t index) {
    const bool is_global = c.global_layers[static_cast<size_t>(index)];
    const bool has_keys = index < c.num_layers - c.shared_layers;
    const int64_t intermediate = has_keys ? c.intermediate_size : c.shared_intermediate_size;
    const Gemma4Heads & heads = is_global ? c.global : c.local;
    const auto norm = [&](const char * name, int64_t width) {
        return scope.require(std::string(name) + ".weight", {width}, WeightKind::Vector);
    };
    const auto linear = [&](const char * name, int64_t in, int64_t out) {
        return Linear::load(scope.at(name), in, out, /*with_bias=*/false);
    };
    const int64_t inner = c.num_heads * heads.head_dim;
    const int64_t kv_inner = heads.num_kv_heads * heads.head_dim;
    Gemma4Layer layer{
        .input_norm = norm("input_layernorm", c.hidden_size),
        .post_attn_norm = norm("post_attention_layernorm", c.hidden_size),
        .pre_ff_norm = norm("pre_feedforward_layernorm", c.hidden_size),
        .post_ff_norm = norm("post_feedforward_layernorm", c.hidden_size),
        .q_norm = norm("self_attn.q_norm", heads.head_dim),
        .k_norm = has_keys ? norm("self_attn.k_norm", heads.head_dim) : nullptr,
        .layer_scalar = scope.require("layer_scalar", {1}, WeightKind::Vector),
        .q_proj = linear("self_attn.q_proj", c.hidden_size, inner),
        .o_proj = linear("self_attn.o_proj", inner, c.hidden_size),
        .k_proj = std::nullopt,
        .v_proj = std::nullopt,
        .gate_proj = linear("mlp.gate_proj", c.hidden_size, intermediate),
        .up_proj = linear("mlp.up_proj", c.hidden_size, intermediate),
        .down_proj = linear("mlp.down_proj", intermediate, c.hidden_size),
        .per_layer = std::nullopt,
        .is_global = is_global,
    };
    if (c.per_layer_width > 0) {
        layer.per_layer = Gemma4PerLayer::load(scope, c);
    }
    if (has_keys) {
        layer.k_proj = linear("self_attn.k_proj", c.hidden_size, kv_inner);
    }
    if (has_keys && !heads.shares_keys) {
        layer.v_proj = linear("self_attn.v_proj", c.hidden_size, kv_inner);
    }
    return layer;
}

ggml_tensor * Gemma4Layer::attention(Graph & graph, const Gemma4Config & c, const Gemma4Inputs & in, ggml_tensor * x,
                                     const LayerCache * cache, Gemma4Keys & keys) const {
    ggml_context * ctx = graph.ctx();
    const Gemma4Heads & kind = is_global ? c.global : c.local;
    const int64_t tokens = x->ne[1];
    x = q_proj.round_input(graph, x);
    const auto heads = [&](const Linear & proj, int64_t count) {  // ne: [head_dim, count, tokens]
        return ggml_reshape_3d(ctx, proj.build(graph, x), kind.head_dim, count, tokens);
    };
    const auto rotate = [&](ggml_tensor * t) {  // ne: [head_dim, count, tokens]
        // The exponent of theta counts to the whole head, though only some of its pairs rotate.
        return ggml_rope_ext(ctx, t, in.positions, is_global ? in.global_divisors : in.local_divisors,
                             static_cast<int>(kind.head_dim), GGML_ROPE_TYPE_NEOX, /*n_ctx_orig=*/0, kind.rope_theta,
                             /*freq_scale=*/1.0f, /*ext_factor=*/0.0f, /*attn_factor=*/1.0f, /*beta_fast=*/0.0f,
                             /*beta_slow=*/0.0f);
    };
    ggml_tensor * q = rotate(rms(graph, heads(q_proj, c.num_heads), q_norm, c.rms_norm_eps));
    ggml_tensor * mask = is_global || !in.window_mask ? in.causal_mask : in.window_mask;
    HeadInputs heads_in{.q = q,
                        .k = keys.k,
                        .v = keys.v,
                        .mask = mask,
                        .scale = 1.0f,  // the norms of queries and keys have it in their weights
                        .activations = activation_type(q_proj.weight),
                        .gate_logits = nullptr,
                        .new_k = keys.new_k,
                        .new_v = keys.new_v};
    if (k_proj) {
        ggml_tensor * raw = heads(*k_proj, kind.num_kv_heads);
        heads_in.k = rotate(rms(graph, raw, k_norm, c.rms_norm_eps));
        // Values are normed without a weight and never rotated; shared ones are the keys before their own norm.
        heads_in.v = ggml_rms_norm(ctx, v_proj ? heads(*v_proj, kind.num_kv_heads) : raw, c.rms_norm_eps);
        heads_in.new_k = heads_in.new_v = nullptr;
        if (cache) {
            heads_in = keep_tokens(graph, *cache, in.kept.length, in.positions, heads_in);
        }
        keys = {heads_in.k, heads_in.v, heads_in.new_k, heads_in.new_v};
    }
    ggml_tensor * o = attend(graph, heads_in);
    return o_proj.build(graph, o);  // ne: [hidden, tokens]
}

ggml_tensor * Gemma4Layer::mlp(Graph & graph, ggml_tensor * x) const {
    x = gate_proj.round_input(graph, x);
    ggml_tensor * gate = gate_proj.build(graph, x, {.gelu = true});  // ne: [intermediate, tokens]
    ggml_tensor * up = up_proj.build(graph, x);                      // ne: [intermediate, tokens]
    return down_proj.build(graph, ggml_mul(graph.ctx(), gate, up));  // ne: [hidden, tokens]
}

ggml_tensor * Gemma4Layer::build(Graph & graph, const Gemma4Config & c, const Gemma4Inputs & in, ggml_tensor * x,
                                 const LayerCache * cache, Gemma4Keys & keys, ggml_tensor * own) const {
    ggml_context * ctx = graph.ctx();
    const float eps = c.rms_norm_eps;
    ggml_tensor * branch = attention(graph, c, in, rms(graph, x, input_norm, eps), cache, keys);
    graph.probe("self_attn", branch);
    x = ggml_add(ctx, x, rms(graph, branch, post_attn_norm, eps));
    branch = graph.probe("mlp", mlp(graph, rms(graph, x, pre_ff_norm, eps)));
    x = ggml_add(ctx, x, rms(graph, branch, post_ff_norm, eps));
    if (per_layer) {
        x = graph.probe("per_layer", per_layer->build(graph, c, x, own));
    }
    // The stored scalar is a factor of the whole stream, not of the branch.
    return ggml_mul(ctx, x, layer_scalar);  // ne: [hidden, tokens]
}

Gemma4 Gemma4::load(const Scope & scope, const Gemma4Config & config) {
    check(config);
    Gemma4 model{
        .config = config,
        .embed_tokens = scope.require("embed_tokens.weight", {config.vocab_size, config.hidden_size}, WeightKind::Rows),
        .norm = scope.require("norm.weight", {config.hidden_size}, WeightKind::Vector),
        .layers = {},
        .per_layer_model_projection = std::nullopt,
    };
    for (int i = 0; i < config.num_layers; ++i) {
        model.layers.push_back(Gemma4Layer::load(scope.at("layers", i), config, i));
    }
    if (const int64_t width = config.per_layer_width; width > 0) {
        const int64_t all = width * config.num_layers;
        model.embed_tokens_per_layer =
            scope.require("embed_tokens_per_layer.weight", {config.vocab_size, all}, WeightKind::Rows);
        model.per_layer_model_projection =
            Linear::load(scope.at("per_layer_model_projection"), config.hidden_size, all, /*with_bias=*/false);
        model.per_layer_projection_norm =
            scope.require("per_layer_projection_norm.weight", {width}, WeightKind::Vector);
    }
    return model;
}

ggml_tensor * Gemma4::per_layer_inputs(Graph & graph, const Gemma4Inputs & in, ggml_tensor * x) const {
    ggml_context * ctx = graph.ctx();
    const int64_t width = config.per_layer_width;
    const auto split = [&](ggml_tensor * t) { return ggml_reshape_3d(ctx, t, width, config.num_layers, t->ne[1]); };
    // The norm would undo the reference's division by sqrt(hidden), but for its epsilon.
    ggml_tensor * projected = ggml_scale(ctx, per_layer_model_projection->build(graph, x),
                                         1.0f / std::sqrt(static_cast<float>(config.hidden_size)));
    projected = rms(graph, split(projected), per_layer_projection_norm, config.rms_norm_eps);
    ggml_tensor * embedded = ggml_scale(ctx, embed(graph, "embed_tokens_per_layer", embed_tokens_per_layer, in.ids),
                                        std::sqrt(static_cast<float>(width)));
    return ggml_scale(ctx, ggml_add(ctx, projected, split(embedded)), std::sqrt(0.5f));
}

void Gemma4::build(Graph & graph, const Gemma4Inputs & in, const StateVisitor & visit) const {
    ggml_context * ctx = graph.ctx();
    ggml_tensor * x = ggml_scale(ctx, embed(graph, "embed_tokens", embed_tokens, in.ids), config.embedding_scale);
    visit(0, graph.probe("embed_tokens", x));
    ggml_tensor * inputs = config.per_layer_width > 0 ? per_layer_inputs(graph, in, x) : nullptr;
    Gemma4Keys local_keys;
    Gemma4Keys global_keys;
    for (int64_t i = 0; i < config.num_layers; ++i) {
        const auto scope = graph.scope("layers." + std::to_string(i));
        const auto index = static_cast<size_t>(i);
        const Gemma4Layer & layer = layers[index];
        const LayerCache * cache = layer.k_proj && !in.kept.layers.empty() ? &in.kept.layers[index] : nullptr;
        ggml_tensor * own = nullptr;  // ne: [per_layer_width, tokens]
        if (inputs) {
            own = ggml_cont(
                ctx, ggml_view_2d(ctx, inputs, inputs->ne[0], inputs->ne[2], inputs->nb[2], index * inputs->nb[1]));
        }
        x = graph.probe("", layer.build(graph, config, in, x, cache, layer.is_global ? global_keys : local_keys, own));
        if (i + 1 < config.num_layers) {
            visit(i + 1, x);
        }
        graph.end_segment({x});
    }
    visit(config.num_layers, graph.probe("norm", rms(graph, x, norm, config.rms_norm_eps)));
}

}  // namespace ltx
