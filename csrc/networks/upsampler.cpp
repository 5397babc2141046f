#include "networks/upsampler.h"

#include <algorithm>

#include "base/error.h"
#include "networks/clip_layout.h"

namespace ltx {

UpsampleStage::UpsampleStage(TensorTable table, const UpsamplerConfig & config, std::shared_ptr<Backend> backend)
    : component_("latent upsampler", std::move(table), std::move(backend),
                 [&](const Scope & scope) { return Upsampler::load(scope, config); }) {}

void UpsampleStage::build(Graph & graph, const Shape & shape) const {
    ggml_tensor * input = graph.input("latent", GGML_TYPE_F32, {shape[0], shape[3], shape[2], shape[1]});
    graph.output("latent", component_.model().build(graph, input));
}

StageMemory UpsampleStage::measure(const Shape & shape) {
    component_.declare();
    StageMeter meter({&component_.weights()});
    meter.add(component_.runner().measure({}, [&](Graph & graph) { build(graph, shape); }));
    return meter.total();
}

HostTensor UpsampleStage::upsample(const HostView & latent, bool composed) {
    const Upsampler & net = component_.model();
    const Shape & shape = latent.shape;
    if (shape.size() != 4 || shape[0] != net.config.in_channels || std::ranges::min(shape) < 1) {
        throw ShapeError("upsample: latent has shape " + to_string(shape) + ", expected (" +
                         std::to_string(net.config.in_channels) + ", F, h, w)");
    }
    component_.load();
    Runner & runner = component_.runner();
    const RunOptions options{.probes = {}, .form = composed ? OpForm::Composed : OpForm::Fused};
    runner.prepare(to_string(shape), options, [&](Graph & graph) { build(graph, shape); });
    runner.set("latent", to_channels_last(latent));
    runner.compute();
    return to_channels_first(runner.fetch("latent", 4));
}

}  // namespace ltx
