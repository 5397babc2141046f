#include "networks/diffusion_decoder.h"

#include <algorithm>

#include "base/error.h"
#include "networks/clip_layout.h"
#include "networks/video_chunks.h"
#include "nn/timestep.h"

namespace ltx {

DiffusionDecoderNetwork::DiffusionDecoderNetwork(TensorTable table, const DiffusionDecoderConfig & config,
                                                 std::shared_ptr<Backend> backend)
    : Network("video decoder", std::move(table), std::move(backend), Streaming::Never,
              [&](const Scope & scope) { return DiffusionDecoder::load(scope, config); }) {
    runner().set_residency(one_layer_at_a_time(this->backend(), stores()));
}

void DiffusionDecoderNetwork::build_features(Graph & graph, const Shape & latent) const {
    ggml_tensor * input = graph.input("latent", GGML_TYPE_F32, {latent[0], latent[3], latent[2], latent[1]});
    graph.output("features", model().features(graph, input));
}

void DiffusionDecoderNetwork::build_frames(Graph & graph, const Shape & features, const Shape & noise, bool begins_clip,
                                           EdgeRule edges) const {
    const DiffusionDecoder::Tile tile{
        .features = graph.input("features", GGML_TYPE_F32, {features[3], features[2], features[1], features[0]}),
        .noise = graph.input("noise", GGML_TYPE_F32, {noise[3], noise[2], noise[1], noise[0]}),
        .timestep = graph.input("timestep", GGML_TYPE_F32, {kTimestepChannels, 1, 1, 1}),
        .drop_first = begins_clip,
        .frames = noise[0],
        .edges = edges,
    };
    graph.output("frames", model().frames(graph, tile));
}

void DiffusionDecoderNetwork::draft(Graph & graph) {
    const DiffusionDecoderConfig & config = model().config;
    // A grid that holds every window; no value is computed.
    GridSize most = config.window;
    for (const DecoderStageConfig & stage : config.stages) {
        most = {std::max(most.time, stage.window.time), std::max(most.height, stage.window.height),
                std::max(most.width, stage.window.width)};
    }
    ggml_tensor * latent =
        graph.input("latent", GGML_TYPE_F32, {config.latent_channels, most.width, most.height, most.time});
    ggml_tensor * features = graph.output("features", model().features(graph, latent));
    const DecoderStageConfig & last = config.stages.back();
    const int64_t frames = features->ne[3] * last.stride.time - (last.stride.time > 1);
    const int64_t patch = config.patch_size;
    const DiffusionDecoder::Tile tile{
        .features = features,
        .noise = graph.input("noise", GGML_TYPE_F32,
                             {config.out_channels, features->ne[1] * last.stride.width * patch,
                              features->ne[2] * last.stride.height * patch, frames}),
        .timestep = graph.input("timestep", GGML_TYPE_F32, {kTimestepChannels, 1, 1, 1}),
        .drop_first = true,
        .frames = frames,
        .edges = EdgeRule::Shift,
    };
    graph.output("frames", model().frames(graph, tile));
}

void DiffusionDecoderNetwork::check_latent(const Shape & latent) const {
    const int64_t channels = model().config.latent_channels;
    if (latent.size() != 4 || latent[0] != channels || std::ranges::min(latent) < 1) {
        throw ShapeError("decode video: latent has shape ", latent, ", expected (", channels, ", F, h, w)");
    }
}

void DiffusionDecoderNetwork::check_tile(const Shape & features, const Shape & noise, bool begins_clip) const {
    const DiffusionDecoderConfig & config = model().config;
    const DecoderStageConfig & last = config.stages.back();
    if (features.size() != 4 || features[3] != last.channels || std::ranges::min(features) < 1) {
        throw ShapeError("decode video: features have shape ", features, ", expected (T, H, W, ", last.channels, ")");
    }
    const int64_t height = features[1] * last.stride.height * config.patch_size;
    const int64_t width = features[2] * last.stride.width * config.patch_size;
    const int64_t frames = features[0] * last.stride.time - (begins_clip && last.stride.time > 1);
    if (noise.size() != 4 || noise[0] < 1 || noise[0] > frames || noise[1] != height || noise[2] != width ||
        noise[3] != config.out_channels) {
        throw ShapeError("decode video: noise has shape ", noise, ", expected up to (", frames, ", ", height, ", ",
                         width, ", ", config.out_channels, ")");
    }
}

HostTensor DiffusionDecoderNetwork::features(const HostView & latent) {
    const auto turn = take_turn();
    check_latent(latent.shape);
    load_weights();
    runner().prepare("features " + to_string(latent.shape), {},
                     [&](Graph & graph) { build_features(graph, latent.shape); });
    runner().set("latent", to_channels_last(latent));
    runner().compute();
    return runner().fetch("features", 4);
}

HostTensor DiffusionDecoderNetwork::frames(const Tile & tile) {
    const auto turn = take_turn();
    check_tile(tile.features.shape, tile.noise.shape, tile.begins_clip);
    if (!(tile.timestep >= 0.0f && tile.timestep <= 1.0f)) {
        throw ArgumentError("decode video: the noise level is ", tile.timestep, ", expected 0 to 1");
    }
    load_weights();
    const std::string key = "frames " + to_string(tile.features.shape) + to_string(tile.noise.shape) +
                            (tile.begins_clip ? " first" : "") +
                            (tile.edges == EdgeRule::Replicate ? " replicated" : "");
    runner().prepare(key, {}, [&](Graph & graph) {
        build_frames(graph, tile.features.shape, tile.noise.shape, tile.begins_clip, tile.edges);
    });
    const float scaled = tile.timestep * model().config.timestep_scale;
    runner().set("features", tile.features.values);
    runner().set("noise", tile.noise.values);
    runner().set("timestep", make_timestep_sinusoid({&scaled, 1}));
    runner().compute();
    return runner().fetch("frames", 4);
}

NetworkMemory DiffusionDecoderNetwork::measure_features(const Shape & latent) {
    const auto turn = take_turn();
    check_latent(latent);
    return Network::measure({[&](Graph & graph) { build_features(graph, latent); }});
}

NetworkMemory DiffusionDecoderNetwork::measure_frames(const Shape & features, const Shape & noise) {
    const auto turn = take_turn();
    check_tile(features, noise, /*begins_clip=*/false);
    return Network::measure(
        {[&](Graph & graph) { build_frames(graph, features, noise, /*begins_clip=*/false, EdgeRule::Shift); }});
}

}  // namespace ltx
