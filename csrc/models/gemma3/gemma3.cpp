#include "models/gemma3/gemma3.h"

#include <cmath>

#include "base/error.h"
#include "nn/attention.h"
#include "nn/embedding.h"

namespace ltx {

namespace {

ggml_tensor * rms(Graph & graph, ggml_tensor * x, ggml_tensor * weight, float eps) {
    return ggml_mul(graph.ctx(), ggml_rms_norm(graph.ctx(), x, eps), weight);
}

void require_positive(int64_t value, const char * key) {
    if (value < 1) {
        throw ConfigError("text encoder: ", key, " must be at least 1, found ", value);
    }
}

void require_positive(float value, const char * key) {
    if (!(value > 0.0f) || !std::isfinite(value)) {
        throw ConfigError("text encoder: ", key, " must be above 0, found ", value);
    }
}

}  // namespace

void check(const Gemma3Config & c) {
    require_positive(c.num_layers, "num_layers");
    require_positive(c.hidden_size, "hidden_size");
    require_positive(c.intermediate_size, "intermediate_size");
    require_positive(c.num_heads, "num_heads");
    require_positive(c.num_kv_heads, "num_kv_heads");
    require_positive(c.head_dim, "head_dim");
    require_positive(c.sliding_window, "sliding_window");
    require_positive(c.vocab_size, "vocab_size");
    require_positive(c.rms_norm_eps, "rms_norm_eps");
    require_positive(c.query_pre_attn_scalar, "query_pre_attn_scalar");
    require_positive(c.rope_theta_global, "rope_theta_global");
    require_positive(c.rope_factor_global, "rope_factor_global");
    require_positive(c.rope_theta_local, "rope_theta_local");
    require_positive(c.embedding_scale, "embedding_scale");
    if (c.head_dim % 2 != 0) {
        throw ConfigError("text encoder: head_dim must be even for the rotary embedding, found ", c.head_dim);
    }
    if (c.num_heads % c.num_kv_heads != 0) {
        throw ConfigError("text encoder: num_heads must be a multiple of num_kv_heads, found ", c.num_heads, " and ",
                          c.num_kv_heads);
    }
    if (static_cast<int64_t>(c.global_layers.size()) != c.num_layers) {
        throw ConfigError("text encoder: global_layers lists ", c.global_layers.size(), " layers, expected ",
                          c.num_layers);
    }
}

Gemma3Layer Gemma3Layer::load(const Scope & scope, const Gemma3Config & c, bool is_global) {
    const auto norm = [&](const char * name, int64_t width) {
        return scope.require(std::string(name) + ".weight", {width}, WeightKind::Vector, c.norm_weight_offset);
    };
    const auto linear = [&](const char * name, int64_t in, int64_t out) {
        return Linear::load(scope.at(name), in, out, /*with_bias=*/false);
    };
    const int64_t inner = c.num_heads * c.head_dim;  // 4096 in the 12B model, whose hidden size is 3840
    return {
        .input_norm = norm("input_layernorm", c.hidden_size),
        .post_attn_norm = norm("post_attention_layernorm", c.hidden_size),
        .pre_ff_norm = norm("pre_feedforward_layernorm", c.hidden_size),
        .post_ff_norm = norm("post_feedforward_layernorm", c.hidden_size),
        .q_norm = norm("self_attn.q_norm", c.head_dim),
        .k_norm = norm("self_attn.k_norm", c.head_dim),
        .q_proj = linear("self_attn.q_proj", c.hidden_size, inner),
        .k_proj = linear("self_attn.k_proj", c.hidden_size, c.num_kv_heads * c.head_dim),
        .v_proj = linear("self_attn.v_proj", c.hidden_size, c.num_kv_heads * c.head_dim),
        .o_proj = linear("self_attn.o_proj", inner, c.hidden_size),
        .gate_proj = linear("mlp.gate_proj", c.hidden_size, c.intermediate_size),
        .up_proj = linear("mlp.up_proj", c.hidden_size, c.intermediate_size),
        .down_proj = linear("mlp.down_proj", c.intermediate_size, c.hidden_size),
        .is_global = is_global,
    };
}

ggml_tensor * Gemma3Layer::attention(Graph & graph, const Gemma3Config & c, const Gemma3Inputs & in, ggml_tensor * x,
                                     const LayerCache * cache) const {
    ggml_context * ctx = graph.ctx();
    const int64_t tokens = x->ne[1];
    const float theta = is_global ? c.rope_theta_global : c.rope_theta_local;
    const float position_scale = is_global ? 1.0f / c.rope_factor_global : 1.0f;
    x = q_proj.round_input(graph, x);
    const auto heads = [&](const Linear & proj, int64_t count) {  // ne: [head_dim, count, tokens]
        return ggml_reshape_3d(ctx, proj.build(graph, x), c.head_dim, count, tokens);
    };
    const auto rotate = [&](ggml_tensor * t) {  // ne: [head_dim, count, tokens]
        return ggml_rope_ext(ctx, t, in.positions, /*freq_factors=*/nullptr, static_cast<int>(c.head_dim),
                             GGML_ROPE_TYPE_NEOX, /*n_ctx_orig=*/0, theta, position_scale, /*ext_factor=*/0.0f,
                             /*attn_factor=*/1.0f, /*beta_fast=*/0.0f, /*beta_slow=*/0.0f);
    };
    ggml_tensor * q = rotate(rms(graph, heads(q_proj, c.num_heads), q_norm, c.rms_norm_eps));
    ggml_tensor * k = rotate(rms(graph, heads(k_proj, c.num_kv_heads), k_norm, c.rms_norm_eps));
    ggml_tensor * v = heads(v_proj, c.num_kv_heads);
    ggml_tensor * mask = is_global || !in.window_mask ? in.causal_mask : in.window_mask;
    HeadInputs heads_in{.q = q,
                        .k = k,
                        .v = v,
                        .mask = mask,
                        .scale = 1.0f / std::sqrt(c.query_pre_attn_scalar),
                        .activations = activation_type(q_proj.weight)};
    if (cache) {
        heads_in = keep_tokens(graph, *cache, in.kept.length, in.positions, heads_in);
    }
    ggml_tensor * o = attend(graph, heads_in);
    return o_proj.build(graph, o);  // ne: [hidden, tokens]
}

ggml_tensor * Gemma3Layer::mlp(Graph & graph, ggml_tensor * x) const {
    x = gate_proj.round_input(graph, x);
    ggml_tensor * gate = gate_proj.build(graph, x, {.gelu = true});  // ne: [intermediate, tokens]
    ggml_tensor * up = up_proj.build(graph, x);                      // ne: [intermediate, tokens]
    return down_proj.build(graph, ggml_mul(graph.ctx(), gate, up));  // ne: [hidden, tokens]
}

ggml_tensor * Gemma3Layer::build(Graph & graph, const Gemma3Config & c, const Gemma3Inputs & in, ggml_tensor * x,
                                 const LayerCache * cache) const {
    ggml_context * ctx = graph.ctx();
    const float eps = c.rms_norm_eps;
    ggml_tensor * branch = attention(graph, c, in, rms(graph, x, input_norm, eps), cache);
    graph.probe("self_attn", branch);
    // A branch is normed before it is added; the stream itself stays raw, and grows past what F16 holds.
    x = ggml_add(ctx, x, rms(graph, branch, post_attn_norm, eps));
    branch = graph.probe("mlp", mlp(graph, rms(graph, x, pre_ff_norm, eps)));
    return ggml_add(ctx, x, rms(graph, branch, post_ff_norm, eps));  // ne: [hidden, tokens]
}

Gemma3 Gemma3::load(const Scope & scope, const Gemma3Config & config) {
    check(config);
    Gemma3 model{
        .config = config,
        .embed_tokens = scope.require("embed_tokens.weight", {config.vocab_size, config.hidden_size}, WeightKind::Rows),
        .norm = scope.require("norm.weight", {config.hidden_size}, WeightKind::Vector, config.norm_weight_offset),
        .layers = {},
    };
    for (int i = 0; i < config.num_layers; ++i) {
        const bool is_global = config.global_layers[static_cast<size_t>(i)];
        model.layers.push_back(Gemma3Layer::load(scope.at("layers", i), config, is_global));
    }
    return model;
}

void Gemma3::build(Graph & graph, const Gemma3Inputs & in, const StateVisitor & visit) const {
    ggml_context * ctx = graph.ctx();
    ggml_tensor * x = ggml_scale(ctx, embed(graph, "embed_tokens", embed_tokens, in.ids), config.embedding_scale);
    visit(0, graph.probe("embed_tokens", x));
    for (int64_t i = 0; i < config.num_layers; ++i) {
        const auto scope = graph.scope("layers." + std::to_string(i));
        const auto index = static_cast<size_t>(i);
        const LayerCache * cache = in.kept.layers.empty() ? nullptr : &in.kept.layers[index];
        x = graph.probe("", layers[index].build(graph, config, in, x, cache));
        if (i + 1 < config.num_layers) {
            visit(i + 1, x);
        }
        graph.end_segment({x});
    }
    visit(config.num_layers, graph.probe("norm", rms(graph, x, norm, config.rms_norm_eps)));
}

}  // namespace ltx
