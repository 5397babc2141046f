// The Gemma-3 text model, handing out every hidden state as it is produced.
// Source: Gemma 3 technical report (2025); transformers, models/gemma3/modeling_gemma3.py (Gemma3TextModel).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "nn/kept_tokens.h"
#include "nn/linear.h"

namespace ltx {

struct Gemma3Config {
    int64_t num_layers;
    int64_t hidden_size;
    int64_t intermediate_size;
    int64_t num_heads;
    int64_t num_kv_heads;
    int64_t head_dim;
    float rms_norm_eps;
    float query_pre_attn_scalar;
    int64_t sliding_window;
    std::vector<bool> global_layers;  // per layer: full attention with the global rope
    float rope_theta_global;
    float rope_factor_global;  // positions are divided by it in global layers
    float rope_theta_local;
    int64_t vocab_size;
    float norm_weight_offset;  // added to every stored norm weight: 1 for Hugging Face files, 0 for llama.cpp's
    float embedding_scale;
};

// Throws ConfigError for values that no graph can be built from.
void check(const Gemma3Config & config);

struct Gemma3Inputs {
    ggml_tensor * ids;                    // I32 [tokens]
    ggml_tensor * positions;              // I32 [tokens]
    ggml_tensor * causal_mask;            // F16 [keys, tokens]; without a cache the keys are the tokens
    ggml_tensor * window_mask = nullptr;  // F16 [keys, tokens] of the local layers; null: the window cuts nothing
    KeptTokens kept;                      // of each layer, or empty
};

struct Gemma3Layer {
    ggml_tensor * input_norm;      // ne: [hidden]; norm weights have the offset added
    ggml_tensor * post_attn_norm;  // ne: [hidden]
    ggml_tensor * pre_ff_norm;     // ne: [hidden]
    ggml_tensor * post_ff_norm;    // ne: [hidden]
    ggml_tensor * q_norm;          // ne: [head_dim]
    ggml_tensor * k_norm;          // ne: [head_dim]
    Linear q_proj, k_proj, v_proj, o_proj;
    Linear gate_proj, up_proj, down_proj;
    bool is_global;

    static Gemma3Layer load(const Scope & scope, const Gemma3Config & config, bool is_global);

    // x: F32 [hidden, tokens] -> F32 [hidden, tokens]
    // `cache`: of this layer, or null.
    ggml_tensor * build(Graph & graph, const Gemma3Config & config, const Gemma3Inputs & inputs, ggml_tensor * x,
                        const LayerCache * cache) const;

private:
    ggml_tensor * attention(Graph & graph, const Gemma3Config & config, const Gemma3Inputs & inputs, ggml_tensor * x,
                            const LayerCache * cache) const;
    ggml_tensor * mlp(Graph & graph, ggml_tensor * x) const;
};

struct Gemma3 {
    using Inputs = Gemma3Inputs;

    Gemma3Config config;
    ggml_tensor * embed_tokens = nullptr;  // ne: [hidden, vocab]
    ggml_tensor * norm = nullptr;          // ne: [hidden]
    std::vector<Gemma3Layer> layers;

    static Gemma3 load(const Scope & scope, const Gemma3Config & config);

    // Receives hidden state `index`, F32 [hidden, tokens], as soon as it is built.
    using StateVisitor = std::function<void(int64_t index, ggml_tensor * state)>;

    // Visits layers + 1 states: the scaled embedding, the residual stream after each layer but the last, and the normed
    // stream after the last.
    // `inputs.kept` makes the tokens follow those of earlier runs.
    void build(Graph & graph, const Gemma3Inputs & inputs, const StateVisitor & visit) const;
};

}  // namespace ltx
