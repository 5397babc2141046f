// Video latent to frames and back.
#pragma once

#include <span>
#include <variant>

#include "models/video_vae/encoder.h"
#include "networks/video_decode_stream.h"

namespace ltx {

class VideoDecodeStage {
public:
    VideoDecodeStage(TensorTable table, const VideoVaeConfig & config, std::shared_ptr<Backend> backend);

    void load() { component_->load(); }
    uint64_t weight_bytes() { return component_->weights().stored_bytes(); }
    std::vector<std::string> probe_names() const;

    // What decoding a latent of this shape takes, without loading weights.
    StageMemory measure(const Shape & latent, const VideoDecodeOptions & options) const {
        return VideoDecodeStream::measure(component_, backend_, latent, options);
    }

    // latent: normalised, (latent_channels, F, h, w). The stream lives without the stage too.
    // Throws ShapeError, ArgumentError.
    std::unique_ptr<VideoDecodeStream> stream(const HostView & latent, VideoDecodeOptions options) const;

    // -> (frames, height, width, 3), about -1..1
    HostTensor decode(const HostView & latent, const VideoDecodeOptions & options) const;

private:
    std::shared_ptr<Backend> backend_;
    std::shared_ptr<Component<VideoDecoder>> component_;
};

// How an encode runs. The numbers do not depend on it.
struct VideoEncodeOptions {
    int64_t chunk_latents = 0;  // latent frames per run; 0 chooses by the picture's size
    ProbeSet probes;
    bool composed = false;  // stock operations instead of our own
};

// RGB levels of 0 to 255. Pictures that were scaled keep their fractions, as in the reference.
using PixelView = std::variant<std::span<const uint8_t>, std::span<const float>>;

class VideoEncodeStage {
public:
    VideoEncodeStage(TensorTable table, const VideoVaeConfig & config, std::shared_ptr<Backend> backend);

    void load() { component_.load(); }
    uint64_t weight_bytes() { return component_.weights().stored_bytes(); }
    std::vector<std::string> probe_names() const;

    // What encoding frames of this shape takes, without loading weights. Throws as `encode` does.
    StageMemory measure(const Shape & shape, const VideoEncodeOptions & options);

    // frames: (frames, height, width, 3); frames one more than a multiple of the compression in time.
    // `probes` receives (frames, height, width, channels) under each name of options.probes.
    // -> normalised latent (latent_channels, F, h, w). Throws ShapeError, ArgumentError.
    HostTensor encode(const Shape & shape, const PixelView & frames, const VideoEncodeOptions & options,
                      std::map<std::string, HostTensor> & probes);

private:
    void check(const Shape & shape) const;
    int64_t chunk_frames(const Shape & shape, const VideoEncodeOptions & options) const;
    void build(Graph & graph, FrameStream & stream, const Shape & shape, int64_t count) const;

    std::shared_ptr<Backend> backend_;
    Component<VideoEncoder> component_;
};

}  // namespace ltx
