// Frames to video latent.
#pragma once

#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "models/video_vae/encoder.h"
#include "networks/network.h"

namespace ltx {

// How an encode runs. The numbers do not depend on it.
struct VideoEncodeOptions {
    int64_t chunk_latents = 0;  // latent frames per run; 0 chooses by the picture's size
    ProbeSet probes;
    bool composed = false;  // stock operations instead of our own
};

// RGB levels of 0 to 255. Pictures that were scaled keep their fractions, as in the reference.
using PixelView = std::variant<std::span<const uint8_t>, std::span<const float>>;

class VideoEncoderNetwork : public Network<VideoEncoder> {
public:
    VideoEncoderNetwork(TensorTable table, const VideoVaeConfig & config, std::shared_ptr<Backend> backend);

    // What encoding frames of this shape takes, without loading weights. Throws as `encode` does.
    NetworkMemory measure(const Shape & shape, const VideoEncodeOptions & options);

    // frames: (frames, height, width, 3); frames one more than a multiple of the compression in time.
    // `probes` receives (frames, height, width, channels) under each name of options.probes.
    // -> normalised latent (latent_channels, F, h, w). Throws ShapeError, ArgumentError.
    HostTensor encode(const Shape & shape, const PixelView & frames, const VideoEncodeOptions & options,
                      std::map<std::string, HostTensor> & probes);

private:
    void draft(Graph & graph) override;
    void check(const Shape & shape) const;
    int64_t chunk_frames(const Shape & shape, const VideoEncodeOptions & options) const;
    void build(Graph & graph, FrameStream & stream, const Shape & shape, int64_t count) const;
};

}  // namespace ltx
