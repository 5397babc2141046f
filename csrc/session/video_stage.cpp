#include "session/video_stage.h"

#include <algorithm>

#include "base/error.h"
#include "session/clip_layout.h"

namespace ltx {

namespace {

// Working memory of one run, of which a chunk's size follows: about 100 bytes per pixel and frame with 16-bit kernels
// (spec of the last level: input buffer, sums, one product, residual stream, all 8 values per pixel).
constexpr int64_t kRunBytes = int64_t{1} << 30;
constexpr int64_t kBytesPerPixel = 100;
constexpr int64_t kMaxChunkLatents = 8;

RunOptions run_options(const VideoDecodeOptions & options) {
    return {.probes = options.probes, .form = options.composed ? OpForm::Composed : OpForm::Fused};
}

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

FrameStream stream_over(StateStore & states) {
    return FrameStream(
        [&states](const std::string & layer, ggml_type type, const std::array<int64_t, 4> & ne) {
            return states.make(layer, type, ne);
        },
        [&states](const std::string & layer) { return states.get(layer); });
}

}  // namespace

VideoDecodeStage::VideoDecodeStage(TensorTable table, const VideoVaeConfig & config, std::shared_ptr<Backend> backend)
    : backend_(backend),
      component_("video decoder", std::move(table), std::move(backend),
                 [&](const Scope & scope) { return VideoDecoder::load(scope, config); }) {}

std::vector<std::string> VideoDecodeStage::probe_names() const {
    return block_names("decoder", "up_blocks", component_.model().config, true);
}

std::unique_ptr<VideoDecodeStream> VideoDecodeStage::stream(const HostView & latent, VideoDecodeOptions options) {
    return std::make_unique<VideoDecodeStream>(shared_from_this(), latent, std::move(options));
}

HostTensor VideoDecodeStage::decode(const HostView & latent, const VideoDecodeOptions & options) {
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

VideoDecodeStream::VideoDecodeStream(std::shared_ptr<VideoDecodeStage> stage, const HostView & latent,
                                     VideoDecodeOptions options)
    : stage_(std::move(stage)),
      options_(std::move(options)),
      runner_(stage_->backend_),
      states_(stage_->backend_),
      stream_(stream_over(states_)) {
    const VideoVaeConfig & config = stage_->component_.model().config;
    const Shape & shape = latent.shape;
    if (shape.size() != 4 || shape[0] != config.latent_channels || std::ranges::min(shape) < 1) {
        throw ShapeError("decode video: latent has shape " + to_string(shape) + ", expected (" +
                         std::to_string(config.latent_channels) + ", F, h, w)");
    }
    if (config.padding == SpatialPad::Reflect && std::min(shape[2], shape[3]) < 2) {
        throw ShapeError("decode video: latent has shape " + to_string(shape) +
                         ", but this decoder reflects at the edges and needs height and width of at least 2");
    }
    if (options_.chunk_latents < 0) {
        throw ArgumentError("decode video: chunk_latents is " + std::to_string(options_.chunk_latents) +
                            ", expected at least 1");
    }
    check_probes("decode video", options_.probes, stage_->probe_names());
    const SpaceTimeFactor pixels = compression(config);
    latents_ = shape[1];
    height_ = shape[2];
    width_ = shape[3];
    num_frames_ = (latents_ - 1) * pixels.time + 1;
    if (options_.chunk_latents == 0) {
        const int64_t bytes = shape[2] * shape[3] * pixels.product() * kBytesPerPixel;
        options_.chunk_latents = std::clamp<int64_t>(kRunBytes / bytes, 1, kMaxChunkLatents);
    }
    latent_ = to_channels_last(latent);
}

std::optional<HostTensor> VideoDecodeStream::next() {
    while (!ended_) {
        const int64_t count = std::min(options_.chunk_latents, latents_ - done_);
        // A clip of one chunk is closed at once: nothing piles up then.
        const bool ended = count == 0 || count == latents_;
        const bool has_frames = run(done_, count, ended);
        done_ += count;
        if (has_frames) {
            return runner_.fetch("frames", 4);
        }
    }
    return std::nullopt;
}

bool VideoDecodeStream::run(int64_t first, int64_t count, bool ended) {
    stage_->load();
    const VideoDecoder & decoder = stage_->component_.model();
    const int64_t channels = decoder.config.latent_channels;
    const std::string key = std::to_string(count) + (ended ? "e" : "") + ":" + stream_.key();
    runner_.prepare(key, run_options(options_), [&](Graph & graph) {
        stream_.begin_build();
        ggml_tensor * latent =
            count ? graph.input("latent", GGML_TYPE_F32, {channels, width_, height_, count}) : nullptr;
        result_ = decoder.build(graph, stream_, {latent, ended}, options_.chunk_latents);
        if (result_.frames) {
            graph.output("frames", result_.frames);
        }
    });
    if (count) {
        const int64_t frame = channels * width_ * height_;
        runner_.set("latent", std::span<const float>(latent_).subspan(static_cast<size_t>(first * frame),
                                                                      static_cast<size_t>(count * frame)));
    }
    runner_.compute();
    stream_.end_run();
    append_frames(probes_, runner_.fetch_probes(4));
    ended_ = result_.ended;
    return result_.frames != nullptr;
}

VideoEncodeStage::VideoEncodeStage(TensorTable table, const VideoVaeConfig & config, std::shared_ptr<Backend> backend)
    : backend_(backend),
      component_("video encoder", std::move(table), std::move(backend),
                 [&](const Scope & scope) { return VideoEncoder::load(scope, config); }) {}

std::vector<std::string> VideoEncodeStage::probe_names() const {
    return block_names("encoder", "down_blocks", component_.model().config, false);
}

HostTensor VideoEncodeStage::encode(const Shape & shape, std::span<const uint8_t> frames,
                                    const VideoDecodeOptions & options, std::map<std::string, HostTensor> & probes) {
    const VideoEncoder & encoder = component_.model();
    const SpaceTimeFactor pixels = compression(encoder.config);
    const bool shaped = shape.size() == 4 && shape[3] == kColours && std::ranges::min(shape) >= 1;
    if (!shaped || (shape[0] - 1) % pixels.time || shape[1] % pixels.height || shape[2] % pixels.width) {
        throw ShapeError("encode video: frames have shape " + to_string(shape) + ", expected (frames, height, width, 3) " +
                         "with frames = " + std::to_string(pixels.time) + " k + 1, height a multiple of " +
                         std::to_string(pixels.height) + " and width of " + std::to_string(pixels.width));
    }
    if (encoder.config.padding == SpatialPad::Reflect && (shape[1] < 2 * pixels.height || shape[2] < 2 * pixels.width)) {
        throw ShapeError("encode video: frames have shape " + to_string(shape) +
                         ", but this encoder reflects at the edges and needs two latent rows and columns");
    }
    check_probes("encode video", options.probes, probe_names());
    component_.load();

    Runner runner(backend_);
    StateStore states(backend_);
    FrameStream stream = stream_over(states);
    const int64_t chunk = options.chunk_latents
                              ? options.chunk_latents
                              : std::clamp<int64_t>(kRunBytes / (shape[1] * shape[2] * pixels.time * kBytesPerPixel), 1,
                                                    kMaxChunkLatents);
    const int64_t frame_values = shape[1] * shape[2] * kColours;
    HostTensor latent;
    std::vector<float> scaled;
    for (int64_t first = 0; first < shape[0];) {
        // The very first frame is a latent of its own, so it goes alone.
        const int64_t count = first == 0 ? 1 : std::min(chunk * pixels.time, shape[0] - first);
        runner.prepare(std::to_string(count) + ":" + stream.key(), run_options(options), [&](Graph & graph) {
            stream.begin_build();
            ggml_tensor * input = graph.input("frames", GGML_TYPE_F32, {kColours, shape[2], shape[1], count});
            graph.output("latent", encoder.build(graph, stream, input));
        });
        const auto bytes = frames.subspan(static_cast<size_t>(first * frame_values), static_cast<size_t>(count * frame_values));
        scaled.resize(bytes.size());
        std::ranges::transform(bytes, scaled.begin(),
                               [](uint8_t level) { return static_cast<float>(level) / 127.5f - 1.0f; });
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
