#include "networks/video_decoder.h"

#include "networks/clip_layout.h"
#include "networks/video_chunks.h"

namespace ltx {

VideoDecoderNetwork::VideoDecoderNetwork(TensorTable table, const VideoVaeConfig & config,
                                         std::shared_ptr<Backend> backend)
    : Network("video decoder", std::move(table), std::move(backend), Streaming::Never,
              [&](const Scope & scope) { return VideoDecoder::load(scope, config); }) {}

void VideoDecoderNetwork::draft(Graph & graph) {
    // A clip of one latent, closed at once, so that every layer gives frames.
    StateStore states(shared_backend(), /*measuring=*/true);
    FrameStream stream = stream_over(states);
    stream.begin_build();
    ggml_tensor * latent = graph.input("latent", GGML_TYPE_F32, {model().config.latent_channels, 2, 2, 1});
    model().build(graph, stream, {latent, /*ended=*/true}, /*limit=*/2);
}

NetworkMemory VideoDecoderNetwork::measure(const Shape & latent, const VideoDecodeOptions & options) {
    return VideoDecodeStream::measure(shared_from_this(), latent, options);
}

std::unique_ptr<VideoDecodeStream> VideoDecoderNetwork::stream(const HostView & latent, VideoDecodeOptions options) {
    check_probes("decode video", options.probes);
    return std::make_unique<VideoDecodeStream>(shared_from_this(), latent, std::move(options));
}

HostTensor VideoDecoderNetwork::decode(const HostView & latent, const VideoDecodeOptions & options) {
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

}  // namespace ltx
