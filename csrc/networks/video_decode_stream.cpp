#include "networks/video_decode_stream.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/pages.h"
#include "networks/clip_layout.h"
#include "networks/video_chunks.h"

namespace ltx {

namespace {

// The official geometry: tiles of 768 pixels, 64 of them shared.
constexpr int64_t kTileLatents = 24;
constexpr int64_t kOverlapLatents = 2;

// Above this the layers' states and one chunk take some 10 GB.
constexpr int64_t kMaxWholePixels = int64_t{1} << 22;

}  // namespace

VideoDecodeStream::Tile::Tile(AxisTile y, AxisTile x, const std::shared_ptr<Backend> & backend, bool measuring)
    : rows(std::move(y)), columns(std::move(x)), states(backend, measuring), stream(stream_over(states)) {}

VideoDecodeStream::VideoDecodeStream(std::shared_ptr<Network<VideoDecoder>> decoder, const HostView & latent,
                                     VideoDecodeOptions options)
    : VideoDecodeStream(std::move(decoder), latent.shape, std::move(options), /*measuring=*/false) {
    latent_ = to_channels_last(latent);
}

VideoDecodeStream::VideoDecodeStream(std::shared_ptr<Network<VideoDecoder>> decoder, const Shape & latent,
                                     VideoDecodeOptions options, bool measuring)
    : decoder_(std::move(decoder)),
      options_(std::move(options)),
      pixels_(compression(decoder_->model().config)),
      runner_(decoder_->shared_backend()) {
    check(latent);
    latents_ = latent[1];
    height_ = latent[2];
    width_ = latent[3];
    num_frames_ = (latents_ - 1) * pixels_.time + 1;
    make_tiles(measuring);
    const AxisTile & rows = tiles_.front()->rows;
    const AxisTile & columns = tiles_.front()->columns;
    if (options_.chunk_latents == 0) {
        options_.chunk_latents =
            chunk_latents(rows.count * columns.count * pixels_.height * pixels_.width, pixels_.time);
    }
    runner_.set_residency(one_layer_at_a_time(decoder_->backend(), decoder_->stores()));
}

void VideoDecodeStream::check(const Shape & shape) const {
    const VideoVaeConfig & config = decoder_->model().config;
    if (shape.size() != 4 || shape[0] != config.latent_channels || std::ranges::min(shape) < 1) {
        throw ShapeError("decode video: latent has shape ", shape, ", expected (", config.latent_channels,
                         ", F, h, w)");
    }
    if (config.padding == SpatialPad::Reflect && std::min(shape[2], shape[3]) < 2) {
        throw ShapeError("decode video: latent has shape ", shape,
                         ", but this decoder reflects at the edges and needs height and width of at least 2");
    }
    if (options_.chunk_latents < 0) {
        throw ArgumentError("decode video: chunk_latents is ", options_.chunk_latents, ", expected at least 1");
    }
    if (const int64_t tile = options_.tile_latents.value_or(0); tile != 0 && tile <= kOverlapLatents) {
        throw ArgumentError("decode video: tile_latents is ", tile, ", expected at least ", kOverlapLatents + 1,
                            ", or 0 for no tiles");
    }
}

void VideoDecodeStream::make_tiles(bool measuring) {
    const bool large = height_ * width_ * pixels_.height * pixels_.width > kMaxWholePixels;
    const int64_t longest = std::max(height_, width_);
    int64_t size = options_.tile_latents.value_or(large ? kTileLatents : 0);
    size = size == 0 ? longest : size;
    const auto split = [&](int64_t latents, int64_t scale) {
        return split_axis(latents, tile_size(latents, longest, size, kOverlapLatents), kOverlapLatents, scale);
    };
    for (const AxisTile & rows : split(height_, pixels_.height)) {
        for (const AxisTile & columns : split(width_, pixels_.width)) {
            tiles_.push_back(std::make_unique<Tile>(rows, columns, decoder_->shared_backend(), measuring));
        }
    }
    if (tiles_.size() > 1 && !options_.probes.empty()) {
        throw ArgumentError("decode video: probes show a whole picture, which this decode cuts into tiles");
    }
}

size_t VideoDecodeStream::state_bytes() const {
    size_t total = 0;
    for (const auto & tile : tiles_) {
        total += tile->states.size_bytes();
    }
    return total;
}

std::optional<HostTensor> VideoDecodeStream::next() {
    // Of the last pictures, which the caller has let go.
    trim_heap();
    while (!ended_) {
        const int64_t count = std::min(options_.chunk_latents, latents_ - done_);
        // A clip of one chunk is closed at once: nothing piles up then. After a failure the layers' states are
        // unusable, so the stream counts as ended until a step succeeds.
        const bool closing = count == 0 || count == latents_;
        ended_ = true;
        HostTensor picture;
        for (size_t i = 0; i < tiles_.size(); ++i) {
            if (!run(i, done_, count, closing)) {
                continue;
            }
            HostTensor frames = runner_.fetch("frames", 4);
            if (tiles_.size() == 1) {
                picture = std::move(frames);
            } else {
                blend(*tiles_[i], frames, picture);
            }
        }
        done_ += count;
        ended_ = result_.ended;
        activation_bytes_ = std::max(activation_bytes_, runner_.activation_bytes());
        if (decoder_->backend().is_cpu()) {
            // Fresh memory becomes real only as the next run writes it.
            runner_.reset();
        }
        if (!picture.shape.empty()) {
            return picture;
        }
    }
    return std::nullopt;
}

std::string VideoDecodeStream::key(size_t index, int64_t count, bool ended) const {
    return std::to_string(index) + ":" + std::to_string(count) + (ended ? "e" : "") + ":" + tiles_[index]->stream.key();
}

RunOptions VideoDecodeStream::run_options() const {
    return {.probes = options_.probes, .form = options_.composed ? OpForm::Composed : OpForm::Fused};
}

void VideoDecodeStream::build(Graph & graph, Tile & tile, int64_t count, bool ended) {
    const VideoDecoder & decoder = decoder_->model();
    tile.stream.begin_build();
    const std::array<int64_t, 4> ne{decoder.config.latent_channels, tile.columns.count, tile.rows.count, count};
    ggml_tensor * latent = count ? graph.input("latent", GGML_TYPE_F32, ne) : nullptr;
    // Nothing is held back when the clip goes through in one run: no layer sees more than its frames.
    const int64_t limit = ended && count ? latents_ + 1 : options_.chunk_latents;
    result_ = decoder.build(graph, tile.stream, {latent, ended}, limit);
    if (result_.frames) {
        graph.output("frames", result_.frames);
    }
}

NetworkMemory VideoDecodeStream::measure(std::shared_ptr<Network<VideoDecoder>> decoder, const Shape & latent,
                                         VideoDecodeOptions options) {
    return VideoDecodeStream(std::move(decoder), latent, std::move(options), /*measuring=*/true).measure();
}

NetworkMemory VideoDecodeStream::measure() {
    NetworkMeter meter = decoder_->meter();
    std::vector<std::string> last(tiles_.size());
    for (int64_t done = 0; !result_.ended;) {
        const int64_t count = std::min(options_.chunk_latents, latents_ - done);
        const bool closing = count == 0 || count == latents_;
        for (size_t i = 0; i < tiles_.size(); ++i) {
            const std::string now = key(i, count, closing);
            // A run that leaves all layers where they were is followed by others like it.
            if (now == std::exchange(last[i], now)) {
                continue;
            }
            meter.add(runner_.measure(run_options(), [&](Graph & graph) { build(graph, *tiles_[i], count, closing); }));
            tiles_[i]->stream.end_run();
        }
        done += count;
    }
    meter.set_state_bytes(state_bytes());
    return meter.total();
}

bool VideoDecodeStream::run(size_t index, int64_t first, int64_t count, bool ended) {
    decoder_->load();
    Tile & tile = *tiles_[index];
    runner_.prepare(key(index, count, ended), run_options(), [&](Graph & graph) { build(graph, tile, count, ended); });
    if (count) {
        runner_.set("latent", crop(tile, first, count));
    }
    runner_.compute();
    decoder_->check_files();
    tile.stream.end_run();
    append_frames(probes_, runner_.fetch_probes(4));
    return result_.frames != nullptr;
}

std::vector<float> VideoDecodeStream::crop(const Tile & tile, int64_t first, int64_t count) const {
    const int64_t channels = decoder_->model().config.latent_channels;
    std::vector<float> values;
    values.reserve(static_cast<size_t>(count * tile.rows.count * tile.columns.count * channels));
    for (int64_t frame = first; frame < first + count; ++frame) {
        for (int64_t row = tile.rows.start; row < tile.rows.start + tile.rows.count; ++row) {
            const auto from = latent_.begin() + ((frame * height_ + row) * width_ + tile.columns.start) * channels;
            values.insert(values.end(), from, from + tile.columns.count * channels);
        }
    }
    return values;
}

void VideoDecodeStream::blend(const Tile & tile, const HostTensor & frames, HostTensor & picture) const {
    const int64_t height = height_ * pixels_.height;
    const int64_t width = width_ * pixels_.width;
    if (picture.shape.empty()) {
        picture.shape = {frames.shape[0], height, width, kColours};
        picture.values.resize(static_cast<size_t>(element_count(picture.shape)));
    }
    const int64_t left = tile.columns.start * pixels_.width;
    const float * from = frames.values.data();
    for (int64_t frame = 0; frame < frames.shape[0]; ++frame) {
        for (int64_t row = 0; row < frames.shape[1]; ++row) {
            const int64_t y = tile.rows.start * pixels_.height + row;
            float * to = picture.values.data() + ((frame * height + y) * width + left) * kColours;
            for (int64_t column = 0; column < frames.shape[2]; ++column) {
                const float weight =
                    tile.rows.weights[static_cast<size_t>(row)] * tile.columns.weights[static_cast<size_t>(column)];
                for (int64_t colour = 0; colour < kColours; ++colour) {
                    *to++ += weight * *from++;
                }
            }
        }
    }
}

}  // namespace ltx
