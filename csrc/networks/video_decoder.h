// Video latent to frames.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "networks/video_decode_stream.h"

namespace ltx {

class VideoDecoderNetwork : public Network<VideoDecoder>, public std::enable_shared_from_this<VideoDecoderNetwork> {
public:
    VideoDecoderNetwork(TensorTable table, const VideoVaeConfig & config, std::shared_ptr<Backend> backend);

    // What decoding a latent of this shape takes, without loading weights.
    NetworkMemory measure(const Shape & latent, const VideoDecodeOptions & options);

    // latent: normalised, (latent_channels, F, h, w). The stream keeps the network alive. Throws ShapeError,
    // ArgumentError.
    std::unique_ptr<VideoDecodeStream> stream(const HostView & latent, VideoDecodeOptions options);

    // -> (frames, height, width, 3), about -1..1
    HostTensor decode(const HostView & latent, const VideoDecodeOptions & options);

private:
    void draft(Graph & graph) override;
};

}  // namespace ltx
