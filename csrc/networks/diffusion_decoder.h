// Video latent and noise to frames, by the diffusion decoder.
#pragma once

#include "base/host_tensor.h"
#include "models/diffusion_decoder/diffusion_decoder.h"
#include "networks/network.h"

namespace ltx {

class DiffusionDecoderNetwork : public Network<DiffusionDecoder> {
public:
    DiffusionDecoderNetwork(TensorTable table, const DiffusionDecoderConfig & config, std::shared_ptr<Backend> backend);

    // latent: normalised, (latent_channels, F, h, w), no smaller than the windows -> (T, H, W, channels), what the
    // fourth stage takes. Throws ShapeError.
    HostTensor features(const HostView & latent);

    struct Tile {
        HostView features;  // (T, H, W, channels), a part of what features() gave
        HostView noise;     // (frames, height, width, 3); the frames to be made, from the tile's first on
        float timestep;     // noise level, 0..1
        bool begins_clip;   // the tile holds the clip's first frame
        EdgeRule edges;
    };

    // One evaluation over a tile -> (frames, height, width, 3). Throws ShapeError, ArgumentError.
    HostTensor frames(const Tile & tile);

    // What the two take for these shapes, without loading weights.
    NetworkMemory measure_features(const Shape & latent);
    NetworkMemory measure_frames(const Shape & features, const Shape & noise);

private:
    void draft(Graph & graph) override;
    void build_features(Graph & graph, const Shape & latent) const;
    void build_frames(Graph & graph, const Shape & features, const Shape & noise, bool begins_clip,
                      EdgeRule edges) const;
    void check_latent(const Shape & latent) const;
    void check_tile(const Shape & features, const Shape & noise, bool begins_clip) const;
};

}  // namespace ltx
