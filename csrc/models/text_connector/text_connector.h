// The embeddings connector: text features padded by learned registers, refined by a small transformer.
// Source: ltx-core, text_encoders/gemma/embeddings_connector.py (Embeddings1DConnector).
#pragma once

#include <string>
#include <vector>

#include "nn/attention.h"
#include "nn/feed_forward.h"

namespace ltx {

struct TextConnectorConfig {
    int64_t num_heads;
    int64_t head_dim;
    int64_t num_layers;
    int64_t num_registers;
    bool gated_attention;
    bool ff_bias;
    bool rope_double;
    double rope_theta;
    double max_pos;
    float norm_eps;

    int64_t width() const { return num_heads * head_dim; }
};

struct TextConnectorInputs {
    ggml_tensor * features;   // F32 [width, tokens]
    ggml_tensor * registers;  // I32 [rows - tokens], the register of each further row; null when there is none
    RopeTables rope;          // of all rows
};

struct TextConnectorBlock {
    Attention attn1;
    FeedForward ff;
};

struct TextConnector {
    TextConnectorConfig config;
    ggml_tensor * learnable_registers = nullptr;  // ne: [width, num_registers]
    std::vector<TextConnectorBlock> blocks;

    static TextConnector load(const Scope & scope, const TextConnectorConfig & config);

    // -> F32 [width, rows]
    ggml_tensor * build(Graph & graph, const TextConnectorInputs & inputs) const;
};

}  // namespace ltx
