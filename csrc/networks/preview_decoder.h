// Pictures of latents for previews, one latent frame at a time, in memory that does not grow with the clip.
#pragma once

#include <memory>
#include <optional>

#include "models/preview_decoder/preview_decoder.h"
#include "networks/network.h"
#include "runtime/state.h"

namespace ltx {

// Which pictures of a latent frame are made. The last alone takes half the time.
enum class PreviewPictures { All, Last };

class PreviewDecoderNetwork;

class PreviewStream {
public:
    // latent: normalised, (latent_channels, F, h, w). Keeps the decoder alive; one stream does not disturb another.
    // Throws ShapeError.
    PreviewStream(std::shared_ptr<PreviewDecoderNetwork> decoder, const HostView & latent, PreviewPictures wanted,
                  bool composed);

    // The pictures (n, 32 h, 32 w, 3), 0..1, of the next latent frame; nothing at the end. The first frame has one.
    std::optional<HostTensor> next();

    size_t state_bytes() const { return states_.size_bytes(); }

private:
    std::shared_ptr<PreviewDecoderNetwork> decoder_;
    Shape shape_;
    std::vector<float> latent_;  // (F, h, w, latent_channels)
    PreviewPictures wanted_;
    RunOptions options_;
    Runner runner_;
    StateStore states_;
    int64_t done_ = 0;
};

class PreviewDecoderNetwork : public Network<PreviewDecoder>,
                              public std::enable_shared_from_this<PreviewDecoderNetwork> {
public:
    PreviewDecoderNetwork(TensorTable table, const PreviewDecoderConfig & config, std::shared_ptr<Backend> backend);

    // What a latent of this shape takes, without loading weights. Throws ShapeError.
    NetworkMemory measure(const Shape & latent, PreviewPictures wanted);

    // Arguments and errors as those of the stream.
    std::unique_ptr<PreviewStream> stream(const HostView & latent, PreviewPictures wanted, bool composed);

    // Throws ShapeError unless a latent is (latent_channels, F, h, w).
    void check(const Shape & latent) const;

    // The graph of one latent frame (latent_channels, w, h) whose blocks' memory lies in `states`.
    void build(Graph & graph, StateStore & states, const Shape & latent, bool is_first, PreviewPictures wanted) const;

private:
    void draft(Graph & graph) override;
};

}  // namespace ltx
