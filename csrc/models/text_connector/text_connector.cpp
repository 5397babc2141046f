#include "models/text_connector/text_connector.h"

#include <cmath>

#include "base/error.h"

namespace ltx {

namespace {

void check(const TextConnectorConfig & c) {
    if (c.num_heads < 1 || c.head_dim < 2 || c.head_dim % 2 != 0 || c.num_layers < 1 || c.num_registers < 1) {
        throw ConfigError(
            "text connector: expected positive num_heads, an even head_dim, positive num_layers and "
            "num_registers, found ",
            Shape{c.num_heads, c.head_dim, c.num_layers, c.num_registers});
    }
    if (!(c.rope_theta > 0.0) || !(c.max_pos > 0.0) || !(c.norm_eps > 0.0f)) {
        throw ConfigError("text connector: rope_theta, max_pos and norm_eps must be above 0");
    }
}

}  // namespace

TextConnector TextConnector::load(const Scope & scope, const TextConnectorConfig & config) {
    check(config);
    const int64_t width = config.width();
    TextConnector connector{
        .config = config,
        .learnable_registers = scope.require("learnable_registers", {config.num_registers, width}, WeightKind::Vector),
        .blocks = {},
    };
    const AttentionConfig attention{
        .query_width = width,
        .context_width = width,
        .output_width = width,
        .num_heads = config.num_heads,
        .head_dim = config.head_dim,
        .gated = config.gated_attention,
        .norm_eps = config.norm_eps,
    };
    for (int i = 0; i < config.num_layers; ++i) {
        const Scope block = scope.at("transformer_1d_blocks", i);
        connector.blocks.push_back(
            {Attention::load(block.at("attn1"), attention), FeedForward::load(block.at("ff"), width, config.ff_bias)});
    }
    return connector;
}

ggml_tensor * TextConnector::build(Graph & graph, const TextConnectorInputs & in) const {
    ggml_context * ctx = graph.ctx();
    ggml_tensor * z = in.features;
    if (in.registers) {
        z = ggml_concat(ctx, z, ggml_get_rows(ctx, learnable_registers, in.registers), 1);  // ne: [width, rows]
    }
    for (size_t i = 0; i < blocks.size(); ++i) {
        const auto scope = graph.scope("transformer_1d_blocks." + std::to_string(i));
        ggml_tensor * y = ggml_rms_norm(ctx, z, config.norm_eps);
        y = blocks[i].attn1.build(graph, {.x = y, .context = y, .query_rope = &in.rope, .key_rope = &in.rope});
        z = ggml_add(ctx, z, graph.probe("attn1", y));
        y = blocks[i].ff.build(graph, ggml_rms_norm(ctx, z, config.norm_eps));
        z = graph.probe("", ggml_add(ctx, z, graph.probe("ff", y)));
        graph.end_segment({z});
    }
    return ggml_rms_norm(ctx, z, config.norm_eps);  // ne: [width, rows]
}

}  // namespace ltx
