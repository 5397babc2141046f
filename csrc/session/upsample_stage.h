// Enlarges video latents.
#pragma once

#include "models/upsampler/upsampler.h"
#include "session/component.h"

namespace ltx {

class UpsampleStage {
public:
    UpsampleStage(TensorTable table, const UpsamplerConfig & config, std::shared_ptr<Backend> backend);

    void load() { component_.load(); }
    uint64_t weight_bytes() { return component_.weights().stored_bytes(); }

    // latent: (in_channels, F, h, w), statistics undone -> (in_channels, F', h', w'). Throws ShapeError.
    HostTensor upsample(const HostView & latent, bool composed);

private:
    Component<Upsampler> component_;
};

}  // namespace ltx
