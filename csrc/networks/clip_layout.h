// Axis orders of clips: networks work channels-last, latents outside are channels-first.
#pragma once

#include <map>
#include <string>

#include "base/host_tensor.h"

namespace ltx {

// (C, F, h, w) -> (F, h, w, C)
std::vector<float> to_channels_last(const HostView & clip);

// (F, h, w, C) -> (C, F, h, w)
HostTensor to_channels_first(const HostTensor & clip);

// Appends frames along the first axis.
void append_frames(HostTensor & clip, const HostTensor & frames);
void append_frames(std::map<std::string, HostTensor> & clips, const std::map<std::string, HostTensor> & frames);

}  // namespace ltx
