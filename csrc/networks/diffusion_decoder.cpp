#include "networks/diffusion_decoder.h"

#include <algorithm>

#include "base/error.h"
#include "networks/clip_layout.h"
#include "networks/video_chunks.h"
#include "nn/timestep.h"

namespace ltx {

namespace {

// What the frames of a pass may take at once; more where frames are large, because those beside them are computed
// twice.
constexpr int64_t kPassBytes = 256 << 20;
constexpr int64_t kLeastWindows = 4;
// Values that a block keeps of a cell, in its channels: input, normed, queries, keys, values, results.
constexpr int64_t kBlockCopies = 7;

// Cuts the frames of a grid into ranges of at most so many for a layer in which a frame looks at `window` of them,
// shifted inwards at the ends.
std::vector<FrameRange> ranges_of(int64_t frames, int64_t window, int64_t most) {
    const int64_t parts = (frames + most - 1) / most;
    const int64_t last_start = std::max<int64_t>(frames - window, 0);
    std::vector<FrameRange> ranges;
    for (int64_t part = 0; part < parts; ++part) {
        const int64_t first = frames * part / parts;
        const int64_t end = frames * (part + 1) / parts;
        const int64_t start = std::clamp<int64_t>(first - window / 2, 0, last_start);
        const int64_t seen = std::clamp<int64_t>(end - 1 - window / 2, 0, last_start) + window;
        ranges.push_back({.first = first - start,
                          .count = end - first,
                          .start = start,
                          .end = std::min(std::max(end, seen), frames),
                          .begins = first == 0});
    }
    return ranges;
}

int64_t frames_at_once(int64_t window, int64_t frame_bytes) {
    return std::max(kPassBytes / frame_bytes, kLeastWindows * window);
}

}  // namespace

DiffusionDecoderNetwork::DiffusionDecoderNetwork(TensorTable table, const DiffusionDecoderConfig & config,
                                                 std::shared_ptr<Backend> backend)
    : Network("video decoder", std::move(table), std::move(backend), Streaming::Never,
              [&](const Scope & scope) { return DiffusionDecoder::load(scope, config); }) {
    runner().set_residency(one_layer_at_a_time(this->backend(), stores()));
}

std::vector<DiffusionDecoderNetwork::Pass> DiffusionDecoderNetwork::passes(int64_t height, int64_t width) const {
    const DiffusionDecoder & net = model();
    const auto bytes_of = [&](int64_t channels) {
        return height * width * channels * static_cast<int64_t>(sizeof(float));
    };
    std::vector<Pass> result{{.name = "enter",
                              .channels = net.config.latent_channels,
                              .window = 1,
                              .frame_bytes = bytes_of(net.config.stages.front().channels),
                              .build = [&net](Graph & graph, ggml_tensor * latent, const FrameRange &) {
                                  return net.enter(graph, latent);
                              }}};
    for (size_t i = 0; i + 1 < net.stages.size(); ++i) {
        const DecoderStage & stage = net.stages[i];
        const int64_t channels = net.config.stages[i].channels;
        for (size_t depth = 0; depth < stage.blocks.size(); ++depth) {
            const WindowBlock & block = stage.blocks[depth];
            result.push_back({.name = stage.name + "." + std::to_string(depth),
                              .channels = channels,
                              .window = block.window.time,
                              .frame_bytes = bytes_of(kBlockCopies * channels),
                              .build = [&block](Graph & graph, ggml_tensor * x, const FrameRange & kept) {
                                  return block.build(graph, x, kept.first, kept.count);
                              }});
        }
        result.push_back({.name = stage.name + " up",
                          .channels = channels,
                          .window = 1,
                          .frame_bytes = bytes_of(2 * stage.up.weight->ne[1]),
                          .stride = stage.stride,
                          .build = [&stage](Graph & graph, ggml_tensor * x, const FrameRange & kept) {
                              return stage.enlarge(graph, x, kept.begins);
                          }});
        height *= stage.stride.height;
        width *= stage.stride.width;
    }
    return result;
}

void DiffusionDecoderNetwork::build_pass(Graph & graph, const Pass & pass, const Shape & grid,
                                         const FrameRange & range) {
    ggml_tensor * input = graph.input("input", GGML_TYPE_F32, {grid[3], grid[2], grid[1], range.end - range.start});
    graph.output("result", pass.build(graph, input, range));
}

HostTensor DiffusionDecoderNetwork::run_pass(const Pass & pass, const HostTensor & input,
                                             std::optional<int64_t> chunk_frames) {
    const Shape & grid = input.shape;
    const auto frame_size = input.values.size() / static_cast<size_t>(grid[0]);
    const int64_t most = chunk_frames.value_or(frames_at_once(pass.window, pass.frame_bytes));
    HostTensor result;
    for (const FrameRange & range : ranges_of(grid[0], pass.window, most)) {
        const std::string key =
            pass.name + to_string(grid) + to_string({range.first, range.count, range.end - range.start, range.begins});
        runner().prepare(key, {}, [&](Graph & graph) { build_pass(graph, pass, grid, range); });
        runner().set("input", std::span(input.values)
                                  .subspan(static_cast<size_t>(range.start) * frame_size,
                                           static_cast<size_t>(range.end - range.start) * frame_size));
        compute_graph();
        const HostTensor frames = runner().fetch("result", 4);
        if (result.shape.empty()) {
            // Else it would be copied as it grows, and be there twice.
            const int64_t all = grid[0] * pass.stride.time - (pass.stride.time > 1);
            result.values.reserve(frames.values.size() / static_cast<size_t>(frames.shape[0]) *
                                  static_cast<size_t>(all));
            result.shape = {0, frames.shape[1], frames.shape[2], frames.shape[3]};
        }
        append_frames(result, frames);
    }
    return result;
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
    ggml_tensor * features = model().enter(graph, latent);
    for (size_t i = 0; i + 1 < model().stages.size(); ++i) {
        const DecoderStage & stage = model().stages[i];
        features = stage.enlarge(graph, stage.build(graph, features), /*drop_first=*/true);
    }
    graph.output("features", features);
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

HostTensor DiffusionDecoderNetwork::features(const HostView & latent, std::optional<int64_t> chunk_frames) {
    const auto turn = take_turn();
    check_latent(latent.shape);
    if (chunk_frames && *chunk_frames < 1) {
        throw ArgumentError("decode video: chunk_frames is ", *chunk_frames, ", expected at least 1");
    }
    load_weights();
    const Shape & shape = latent.shape;
    HostTensor grid{{shape[1], shape[2], shape[3], shape[0]}, to_channels_last(latent)};
    for (const Pass & pass : passes(shape[2], shape[3])) {
        grid = run_pass(pass, grid, chunk_frames);
    }
    return grid;
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
    Shape grid{latent[1], latent[2], latent[3], latent[0]};
    std::vector<Build> builds;
    for (const Pass & pass : passes(latent[2], latent[3])) {
        grid[3] = pass.channels;
        const auto ranges = ranges_of(grid[0], pass.window, frames_at_once(pass.window, pass.frame_bytes));
        const FrameRange largest =
            std::ranges::max(ranges, {}, [](const FrameRange & range) { return range.end - range.start; });
        builds.push_back([pass, grid, largest](Graph & graph) { build_pass(graph, pass, grid, largest); });
        grid = {grid[0] * pass.stride.time - (pass.stride.time > 1), grid[1] * pass.stride.height,
                grid[2] * pass.stride.width, 0};
    }
    return Network::measure(builds);
}

NetworkMemory DiffusionDecoderNetwork::measure_frames(const Shape & features, const Shape & noise) {
    const auto turn = take_turn();
    check_tile(features, noise, /*begins_clip=*/false);
    return Network::measure(
        {[&](Graph & graph) { build_frames(graph, features, noise, /*begins_clip=*/false, EdgeRule::Shift); }});
}

}  // namespace ltx
