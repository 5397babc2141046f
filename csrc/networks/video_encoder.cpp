#include "networks/video_encoder.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "networks/clip_layout.h"
#include "networks/video_chunks.h"

namespace ltx {

namespace {

std::vector<std::string> block_names(const std::string & half, const std::string & list, const VideoVaeConfig & config,
                                     bool reversed) {
    std::vector<std::string> names{half + ".conv_in"};
    const auto count = static_cast<int64_t>(config.blocks.size());
    for (int64_t i = 0; i < count; ++i) {
        const VaeBlock & block = config.blocks[static_cast<size_t>(reversed ? count - 1 - i : i)];
        const std::string name = half + "." + list + "." + std::to_string(i);
        for (int64_t layer = 0; block.kind == VaeBlockKind::ResX && layer < block.num_layers; ++layer) {
            names.push_back(name + ".res_blocks." + std::to_string(layer));
        }
        names.push_back(name);
    }
    names.push_back(half + ".conv_out");
    return names;
}

void check_probes(const std::string & where, const ProbeSet & probes, const std::vector<std::string> & known) {
    for (const std::string & probe : probes) {
        if (std::ranges::find(known, probe) == known.end()) {
            std::string list;
            for (const std::string & name : known) {
                list += (list.empty() ? "" : ", ") + name;
            }
            throw ArgumentError(where + ": no probe '" + probe + "'; there are " + list);
        }
    }
}

}  // namespace

VideoDecodeStage::VideoDecodeStage(TensorTable table, const VideoVaeConfig & config, std::shared_ptr<Backend> backend)
    : backend_(backend),
      component_(std::make_shared<Component<VideoDecoder>>(
          "video decoder", std::move(table), std::move(backend),
          [&](const Scope & scope) { return VideoDecoder::load(scope, config); })) {}

std::vector<std::string> VideoDecodeStage::probe_names() const {
    return block_names("decoder", "up_blocks", component_->model().config, true);
}

std::unique_ptr<VideoDecodeStream> VideoDecodeStage::stream(const HostView & latent, VideoDecodeOptions options) const {
    check_probes("decode video", options.probes, probe_names());
    return std::make_unique<VideoDecodeStream>(component_, backend_, latent, std::move(options));
}

HostTensor VideoDecodeStage::decode(const HostView & latent, const VideoDecodeOptions & options) const {
    const auto frames = stream(latent, options);
    HostTensor clip;
    while (const auto chunk = frames->next()) {
        if (clip.shape.empty()) {
            clip.values.reserve(chunk->values.size() / chunk->shape[0] * frames->num_frames());
        }
        append_frames(clip, *chunk);
    }
    return clip;
}

VideoEncodeStage::VideoEncodeStage(TensorTable table, const VideoVaeConfig & config, std::shared_ptr<Backend> backend)
    : backend_(backend), component_("video encoder", std::move(table), std::move(backend), [&](const Scope & scope) {
          return VideoEncoder::load(scope, config);
      }) {}

std::vector<std::string> VideoEncodeStage::probe_names() const {
    return block_names("encoder", "down_blocks", component_.model().config, false);
}

void VideoEncodeStage::check(const Shape & shape) const {
    const VideoVaeConfig & config = component_.model().config;
    const SpaceTimeFactor pixels = compression(config);
    const bool shaped = shape.size() == 4 && shape[3] == kColours && std::ranges::min(shape) >= 1;
    if (!shaped || (shape[0] - 1) % pixels.time || shape[1] % pixels.height || shape[2] % pixels.width) {
        throw ShapeError("encode video: frames have shape " + to_string(shape) +
                         ", expected (frames, height, width, 3) " + "with frames = " + std::to_string(pixels.time) +
                         " k + 1, height a multiple of " + std::to_string(pixels.height) + " and width of " +
                         std::to_string(pixels.width));
    }
    if (config.padding == SpatialPad::Reflect && (shape[1] < 2 * pixels.height || shape[2] < 2 * pixels.width)) {
        throw ShapeError("encode video: frames have shape " + to_string(shape) +
                         ", but this encoder reflects at the edges and needs two latent rows and columns");
    }
}

int64_t VideoEncodeStage::chunk_frames(const Shape & shape, const VideoEncodeOptions & options) const {
    const SpaceTimeFactor pixels = compression(component_.model().config);
    const int64_t latents =
        options.chunk_latents ? options.chunk_latents : chunk_latents(shape[1] * shape[2], pixels.time);
    return latents * pixels.time;
}

void VideoEncodeStage::build(Graph & graph, FrameStream & stream, const Shape & shape, int64_t count) const {
    stream.begin_build();
    ggml_tensor * input = graph.input("frames", GGML_TYPE_F32, {kColours, shape[2], shape[1], count});
    graph.output("latent", component_.model().build(graph, stream, input));
}

StageMemory VideoEncodeStage::measure(const Shape & shape, const VideoEncodeOptions & options) {
    check(shape);
    component_.declare();
    StateStore states(backend_, /*measuring=*/true);
    FrameStream stream = stream_over(states);
    StageMeter meter({&component_.weights()});
    std::string last;
    int64_t count = 0;
    for (int64_t first = 0; first < shape[0]; first += count) {
        count = first == 0 ? 1 : std::min(chunk_frames(shape, options), shape[0] - first);
        const std::string now = std::to_string(count) + ":" + stream.key();
        // A run that leaves all layers where they were is followed by others like it.
        if (now == std::exchange(last, now)) {
            continue;
        }
        meter.add(component_.runner().measure({}, [&](Graph & graph) { build(graph, stream, shape, count); }));
        stream.end_run();
    }
    meter.set_state_bytes(states.size_bytes());
    return meter.total();
}

HostTensor VideoEncodeStage::encode(const Shape & shape, const PixelView & frames, const VideoEncodeOptions & options,
                                    std::map<std::string, HostTensor> & probes) {
    check(shape);
    check_probes("encode video", options.probes, probe_names());
    component_.load();

    Runner runner(backend_);
    runner.set_residency(one_layer_at_a_time(*backend_, component_.weights()));
    StateStore states(backend_);
    FrameStream stream = stream_over(states);
    const int64_t chunk = chunk_frames(shape, options);
    const int64_t frame_values = shape[1] * shape[2] * kColours;
    HostTensor latent;
    std::vector<float> scaled;
    for (int64_t first = 0; first < shape[0];) {
        // The very first frame is a latent of its own, so it goes alone.
        const int64_t count = first == 0 ? 1 : std::min(chunk, shape[0] - first);
        const RunOptions run{.probes = options.probes, .form = options.composed ? OpForm::Composed : OpForm::Fused};
        runner.prepare(std::to_string(count) + ":" + stream.key(), run,
                       [&](Graph & graph) { build(graph, stream, shape, count); });
        std::visit(
            [&](const auto & levels) {
                const auto part = levels.subspan(static_cast<size_t>(first * frame_values),
                                                 static_cast<size_t>(count * frame_values));
                scaled.resize(part.size());
                std::ranges::transform(part, scaled.begin(),
                                       [](auto level) { return static_cast<float>(level) / 127.5f - 1.0f; });
            },
            frames);
        runner.set("frames", scaled);
        runner.compute();
        stream.end_run();
        append_frames(latent, runner.fetch("latent", 4));
        append_frames(probes, runner.fetch_probes(4));
        first += count;
    }
    return to_channels_first(latent);
}

}  // namespace ltx
