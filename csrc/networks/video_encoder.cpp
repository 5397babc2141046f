#include "networks/video_encoder.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "networks/clip_layout.h"
#include "networks/video_chunks.h"

namespace ltx {

VideoEncoderNetwork::VideoEncoderNetwork(TensorTable table, const VideoVaeConfig & config,
                                         std::shared_ptr<Backend> backend)
    : Network("video encoder", std::move(table), std::move(backend), Streaming::Never,
              [&](const Scope & scope) { return VideoEncoder::load(scope, config); }) {}

void VideoEncoderNetwork::check(const Shape & shape) const {
    const VideoVaeConfig & config = model().config;
    const SpaceTimeFactor pixels = compression(config);
    const bool shaped = shape.size() == 4 && shape[3] == kColours && std::ranges::min(shape) >= 1;
    if (!shaped || (shape[0] - 1) % pixels.time || shape[1] % pixels.height || shape[2] % pixels.width) {
        throw ShapeError("encode video: frames have shape ", shape,
                         ", expected (frames, height, width, 3) "
                         "with frames = ",
                         pixels.time, " k + 1, height a multiple of ", pixels.height, " and width of ", pixels.width);
    }
    if (config.padding == SpatialPad::Reflect && (shape[1] < 2 * pixels.height || shape[2] < 2 * pixels.width)) {
        throw ShapeError("encode video: frames have shape ", shape,
                         ", but this encoder reflects at the edges and needs two latent rows and columns");
    }
}

int64_t VideoEncoderNetwork::chunk_frames(const Shape & shape, const VideoEncodeOptions & options) const {
    const SpaceTimeFactor pixels = compression(model().config);
    const int64_t latents =
        options.chunk_latents ? options.chunk_latents : chunk_latents(shape[1] * shape[2], pixels.time);
    return latents * pixels.time;
}

void VideoEncoderNetwork::build(Graph & graph, FrameStream & stream, const Shape & shape, int64_t count) const {
    stream.begin_build();
    ggml_tensor * input = graph.input("frames", GGML_TYPE_F32, {kColours, shape[2], shape[1], count});
    graph.output("latent", model().build(graph, stream, input));
}

void VideoEncoderNetwork::draft(Graph & graph) {
    // The first frame, of the smallest picture that may be reflected.
    const SpaceTimeFactor pixels = compression(model().config);
    StateStore states(shared_backend(), /*measuring=*/true);
    FrameStream stream = stream_over(states);
    build(graph, stream, {1, 2 * pixels.height, 2 * pixels.width, kColours}, 1);
}

NetworkMemory VideoEncoderNetwork::measure(const Shape & shape, const VideoEncodeOptions & options) {
    const auto turn = take_turn();
    check(shape);
    StateStore states(shared_backend(), /*measuring=*/true);
    FrameStream stream = stream_over(states);
    NetworkMeter sum = meter();
    std::string last;
    int64_t count = 0;
    for (int64_t first = 0; first < shape[0]; first += count) {
        count = first == 0 ? 1 : std::min(chunk_frames(shape, options), shape[0] - first);
        const std::string now = std::to_string(count) + ":" + stream.key();
        // A run that leaves all layers where they were is followed by others like it.
        if (now == std::exchange(last, now)) {
            continue;
        }
        sum.add(runner().measure({}, [&](Graph & graph) { build(graph, stream, shape, count); }));
        stream.end_run();
    }
    sum.set_state_bytes(states.size_bytes());
    return sum.total();
}

HostTensor VideoEncoderNetwork::encode(const Shape & shape, const PixelView & frames,
                                       const VideoEncodeOptions & options, std::map<std::string, HostTensor> & probes) {
    const auto turn = take_turn();
    check(shape);
    check_probes("encode video", options.probes);
    load_weights();

    Runner runner(shared_backend());
    runner.set_residency(one_layer_at_a_time(backend(), stores()));
    StateStore states(shared_backend());
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
        check_files();
        stream.end_run();
        append_frames(latent, runner.fetch("latent", 4));
        append_frames(probes, runner.fetch_probes(4));
        first += count;
    }
    return to_channels_first(latent);
}

}  // namespace ltx
