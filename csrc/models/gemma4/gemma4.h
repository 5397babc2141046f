// The Gemma-4 text model, handing out every hidden state as it is produced.
// Source: transformers 5.14, models/gemma4 (the unified text model); ltx-core 1.2.0, text_encoders/gemma.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nn/kept_tokens.h"
#include "nn/linear.h"

namespace ltx {

// What the layers of one kind have in common.
struct Gemma4Heads {
    int64_t head_dim;
    int64_t num_kv_heads;
    bool shares_keys;  // no projection of their own for the values: they are made from the keys'
    float rope_theta;
    float rope_factor;      // angles are divided by it
    int64_t rotated_pairs;  // pairs (i, i + head_dim / 2) from the front that rotate; the others stand still
};

struct Gemma4Config {
    int64_t num_layers;
    int64_t hidden_size;
    int64_t intermediate_size;
    int64_t num_heads;
    float rms_norm_eps;
    int64_t sliding_window;
    std::vector<bool> global_layers;   // per layer: full attention, with the heads of `global`
    int64_t shared_layers;             // the last ones, which take keys and values from the last of their kind before
    int64_t shared_intermediate_size;  // of their feed-forward; 0 without any
    int64_t per_layer_width;           // of the inputs that each layer has of its own; 0: there are none
    Gemma4Heads local;
    Gemma4Heads global;
    int64_t vocab_size;
    float embedding_scale;
    std::vector<int32_t> placeholder_ids;  // of pictures and sounds: written in a prompt they are embedded as `pad_id`
    int32_t pad_id;
    float final_logit_softcap;  // logits of tokens stay below it; 0: they are not bounded
};

// Throws ConfigError for values that no graph can be built from.
void check(const Gemma4Config & config);

// What the angles of each pair are divided by, (head_dim / 2): a number so large that the angle is 0 where a pair does
// not rotate.
std::vector<float> rope_divisors(const Gemma4Heads & heads);

struct Gemma4Inputs {
    ggml_tensor * ids;                    // I32 [tokens]
    ggml_tensor * positions;              // I32 [tokens]
    ggml_tensor * causal_mask;            // F16 [keys, tokens]; without a cache the keys are the tokens
    ggml_tensor * window_mask = nullptr;  // F16 [keys, tokens] of the local layers; null: the window cuts nothing
    KeptTokens kept;                      // of each layer, or empty
    ggml_tensor * local_divisors;         // F32 [local head_dim / 2]
    ggml_tensor * global_divisors;        // F32 [global head_dim / 2]
};

// What is added to the stream of a layer from its own embedding of the tokens.
struct Gemma4PerLayer {
    Linear input_gate;        // hidden -> per_layer_width
    Linear projection;        // per_layer_width -> hidden
    ggml_tensor * post_norm;  // ne: [hidden]

    static Gemma4PerLayer load(const Scope & scope, const Gemma4Config & config);

    // x: F32 [hidden, tokens], own: F32 [per_layer_width, tokens] -> F32 [hidden, tokens]
    ggml_tensor * build(Graph & graph, const Gemma4Config & config, ggml_tensor * x, ggml_tensor * own) const;
};

// Keys and values as attention takes them, which later layers may take too.
struct Gemma4Keys {
    ggml_tensor * k = nullptr;
    ggml_tensor * v = nullptr;
    ggml_tensor * new_k = nullptr;
    ggml_tensor * new_v = nullptr;
};

struct Gemma4Layer {
    // Weights of norms are used as they are stored, without the 1 that Gemma 3 adds.
    ggml_tensor * input_norm;      // ne: [hidden]
    ggml_tensor * post_attn_norm;  // ne: [hidden]
    ggml_tensor * pre_ff_norm;     // ne: [hidden]
    ggml_tensor * post_ff_norm;    // ne: [hidden]
    ggml_tensor * q_norm;          // ne: [head_dim]
    ggml_tensor * k_norm;          // ne: [head_dim]; null where keys are another layer's
    ggml_tensor * layer_scalar;    // ne: [1]
    Linear q_proj, o_proj;
    std::optional<Linear> k_proj;  // absent where keys are another layer's
    std::optional<Linear> v_proj;  // absent there, and where values are made from keys
    Linear gate_proj, up_proj, down_proj;
    std::optional<Gemma4PerLayer> per_layer;
    bool is_global;

    static Gemma4Layer load(const Scope & scope, const Gemma4Config & config, int64_t index);

    // x: F32 [hidden, tokens] -> F32 [hidden, tokens]
    // `cache`: of this layer, or null. `keys`: of the last layer of this kind; a layer with its own replaces them.
    // `own`: this layer's inputs, F32 [per_layer_width, tokens], or null.
    ggml_tensor * build(Graph & graph, const Gemma4Config & config, const Gemma4Inputs & inputs, ggml_tensor * x,
                        const LayerCache * cache, Gemma4Keys & keys, ggml_tensor * own) const;

private:
    ggml_tensor * attention(Graph & graph, const Gemma4Config & config, const Gemma4Inputs & inputs, ggml_tensor * x,
                            const LayerCache * cache, Gemma4Keys & keys) const;
    ggml_tensor * mlp(Graph & graph, ggml_tensor * x) const;
};

struct Gemma4 {
    using Inputs = Gemma4Inputs;

    Gemma4Config config;
    ggml_tensor * embed_tokens = nullptr;  // ne: [hidden, vocab]
    ggml_tensor * norm = nullptr;          // ne: [hidden]
    std::vector<Gemma4Layer> layers;
    // Of the inputs that layers have of their own; null without any.
    ggml_tensor * embed_tokens_per_layer = nullptr;     // ne: [per_layer_width * layers, vocab]
    std::optional<Linear> per_layer_model_projection;   // hidden -> per_layer_width * layers
    ggml_tensor * per_layer_projection_norm = nullptr;  // ne: [per_layer_width]

    static Gemma4 load(const Scope & scope, const Gemma4Config & config);

    // Receives hidden state `index`, F32 [hidden, tokens], as soon as it is built.
    using StateVisitor = std::function<void(int64_t index, ggml_tensor * state)>;

    // Visits layers + 1 states: the scaled embedding, the residual stream after each layer but the last, and the normed
    // stream after the last.
    // `inputs.kept` makes the tokens follow those of earlier runs.
    void build(Graph & graph, const Gemma4Inputs & inputs, const StateVisitor & visit) const;

private:
    // x: the scaled embedding, F32 [hidden, tokens] -> F32 [per_layer_width, layers, tokens]
    ggml_tensor * per_layer_inputs(Graph & graph, const Gemma4Inputs & inputs, ggml_tensor * x) const;
};

}  // namespace ltx
