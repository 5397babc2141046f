// Enlarges video latents.
#pragma once

#include "models/upsampler/upsampler.h"
#include "networks/network.h"
#include "networks/network_memory.h"

namespace ltx {

class UpsampleStage {
public:
    UpsampleStage(TensorTable table, const UpsamplerConfig & config, std::shared_ptr<Backend> backend);

    void load() { component_.load(); }
    uint64_t weight_bytes() { return component_.weights().stored_bytes(); }

    // What `upsample` takes for a latent of this shape, without loading weights.
    StageMemory measure(const Shape & shape);

    // latent: (in_channels, F, h, w), statistics undone -> (in_channels, F', h', w'). Throws ShapeError.
    HostTensor upsample(const HostView & latent, bool composed);

private:
    void build(Graph & graph, const Shape & shape) const;

    Component<Upsampler> component_;
};

}  // namespace ltx
