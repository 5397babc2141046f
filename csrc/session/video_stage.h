// Video latent to frames and back.
#pragma once

#include <optional>

#include "models/video_vae/decoder.h"
#include "models/video_vae/encoder.h"
#include "runtime/state.h"
#include "session/component.h"

namespace ltx {

class VideoDecodeStream;

// How a decode runs. The numbers do not depend on it.
struct VideoDecodeOptions {
    int64_t chunk_latents = 0;  // latent frames per run; 0 chooses by the picture's size
    ProbeSet probes;
    bool composed = false;  // stock operations instead of our own
};

class VideoDecodeStage : public std::enable_shared_from_this<VideoDecodeStage> {
public:
    VideoDecodeStage(TensorTable table, const VideoVaeConfig & config, std::shared_ptr<Backend> backend);

    void load() { component_.load(); }
    uint64_t weight_bytes() { return component_.weights().stored_bytes(); }
    std::vector<std::string> probe_names() const;

    // latent: normalised, (latent_channels, F, h, w). The stream keeps the stage alive and has memory of its own.
    // Throws ShapeError, ArgumentError.
    std::unique_ptr<VideoDecodeStream> stream(const HostView & latent, VideoDecodeOptions options);

    // -> (frames, height, width, 3), about -1..1
    HostTensor decode(const HostView & latent, const VideoDecodeOptions & options);

private:
    friend class VideoDecodeStream;

    std::shared_ptr<Backend> backend_;
    Component<VideoDecoder> component_;
};

// One clip on its way through the decoder, chunk by chunk; memory does not grow with the clip.
class VideoDecodeStream {
public:
    VideoDecodeStream(std::shared_ptr<VideoDecodeStage> stage, const HostView & latent, VideoDecodeOptions options);

    // The next frames (n, height, width, 3), n >= 1; nothing at the end.
    std::optional<HostTensor> next();

    int64_t num_frames() const { return num_frames_; }
    size_t activation_bytes() const { return runner_.activation_bytes(); }
    size_t state_bytes() const { return states_.size_bytes(); }

    // What the probes have shown so far, (frames, height, width, channels) each.
    const std::map<std::string, HostTensor> & probes() const { return probes_; }

private:
    bool run(int64_t first, int64_t count, bool ended);

    std::shared_ptr<VideoDecodeStage> stage_;
    VideoDecodeOptions options_;
    int64_t latents_, height_, width_, num_frames_;
    std::vector<float> latent_;  // (F, h, w, latent_channels)
    Runner runner_;
    StateStore states_;
    FrameStream stream_;
    int64_t done_ = 0;
    bool ended_ = false;
    FrameChunk result_;
    std::map<std::string, HostTensor> probes_;
};

class VideoEncodeStage {
public:
    VideoEncodeStage(TensorTable table, const VideoVaeConfig & config, std::shared_ptr<Backend> backend);

    void load() { component_.load(); }
    uint64_t weight_bytes() { return component_.weights().stored_bytes(); }
    std::vector<std::string> probe_names() const;

    // frames: RGB bytes (frames, height, width, 3); frames one more than a multiple of the compression in time.
    // `probes` receives (frames, height, width, channels) under each name of options.probes.
    // -> normalised latent (latent_channels, F, h, w). Throws ShapeError, ArgumentError.
    HostTensor encode(const Shape & shape, std::span<const uint8_t> frames, const VideoDecodeOptions & options,
                      std::map<std::string, HostTensor> & probes);

private:
    std::shared_ptr<Backend> backend_;
    Component<VideoEncoder> component_;
};

}  // namespace ltx
