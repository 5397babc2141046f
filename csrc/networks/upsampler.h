// Enlarges video latents.
#pragma once

#include "models/upsampler/upsampler.h"
#include "networks/network.h"

namespace ltx {

class UpsamplerNetwork : public Network<Upsampler> {
public:
    UpsamplerNetwork(TensorTable table, const UpsamplerConfig & config, std::shared_ptr<Backend> backend);

    // What `upsample` takes for a latent of this shape, without loading weights.
    NetworkMemory measure(const Shape & shape);

    // latent: (in_channels, F, h, w), statistics undone -> (in_channels, F', h', w'). Throws ShapeError.
    HostTensor upsample(const HostView & latent, bool composed);

private:
    void draft(Graph & graph) override;
    void build(Graph & graph, const Shape & shape) const;
};

}  // namespace ltx
