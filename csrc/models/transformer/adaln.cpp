#include "models/transformer/adaln.h"

#include "nn/timestep.h"

namespace ltx {

AdaLayerNormSingle AdaLayerNormSingle::load(const Scope & parent, const std::string & name, int64_t width,
                                            int64_t rows) {
    const Scope scope = parent.at(name);
    const Scope embedder = scope.at("emb.timestep_embedder");
    AdaLayerNormSingle module;
    module.linear_1 = Linear::load(embedder.at("linear_1"), kTimestepChannels, width);
    module.linear_2 = Linear::load(embedder.at("linear_2"), width, width);
    module.linear = Linear::load(scope.at("linear"), width, rows * width);
    module.width = width;
    module.rows = rows;
    module.name_ = name;
    return module;
}

AdaLayerNormSingle::Result AdaLayerNormSingle::build(Graph & graph, ggml_tensor * sinusoid) const {
    ggml_context * ctx = graph.ctx();
    const Graph::Scope scope = graph.scope(name_);
    ggml_tensor * hidden = ggml_silu(ctx, linear_1.build(graph, sinusoid));
    ggml_tensor * embedded = graph.probe("emb", linear_2.build(graph, hidden));  // ne: [width, timesteps]
    ggml_tensor * modulation = linear.build(graph, ggml_silu(ctx, embedded));    // ne: [rows * width, timesteps]
    graph.probe("", modulation);
    return {ggml_reshape_3d(ctx, modulation, width, rows, sinusoid->ne[1]), embedded};
}

}  // namespace ltx
