#include "networks/upsampler.h"

#include <algorithm>

#include "base/error.h"
#include "networks/clip_layout.h"

namespace ltx {

UpsamplerNetwork::UpsamplerNetwork(TensorTable table, const UpsamplerConfig & config, std::shared_ptr<Backend> backend)
    : Network("latent upsampler", std::move(table), std::move(backend), Streaming::Never,
              [&](const Scope & scope) { return Upsampler::load(scope, config); }) {}

void UpsamplerNetwork::build(Graph & graph, const Shape & shape) const {
    ggml_tensor * input = graph.input("latent", GGML_TYPE_F32, {shape[0], shape[3], shape[2], shape[1]});
    graph.output("latent", model().build(graph, input));
}

void UpsamplerNetwork::draft(Graph & graph) {
    build(graph, {model().config.in_channels, 2, 2, 2});
}

NetworkMemory UpsamplerNetwork::measure(const Shape & shape) {
    const auto turn = take_turn();
    return Network::measure({[&](Graph & graph) { build(graph, shape); }});
}

HostTensor UpsamplerNetwork::upsample(const HostView & latent, bool composed) {
    const auto turn = take_turn();
    const int64_t channels = model().config.in_channels;
    const Shape & shape = latent.shape;
    if (shape.size() != 4 || shape[0] != channels || std::ranges::min(shape) < 1) {
        throw ShapeError("upsample: latent has shape ", shape, ", expected (", channels, ", F, h, w)");
    }
    load_weights();
    const RunOptions options{.probes = {}, .form = composed ? OpForm::Composed : OpForm::Fused};
    runner().prepare(to_string(shape), options, [&](Graph & graph) { build(graph, shape); });
    runner().set("latent", to_channels_last(latent));
    compute_graph();
    return to_channels_first(runner().fetch("latent", 4));
}

}  // namespace ltx
