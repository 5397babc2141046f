// Axis orders of pictures and sound: networks work channels-last, arrays outside are channels-first.
#pragma once

#include <map>
#include <string>

#include "base/host_tensor.h"

namespace ltx {

// (C, ...) -> (..., C)
std::vector<float> to_channels_last(const HostView & planar);

// (..., C) -> (C, ...)
HostTensor to_channels_first(const HostTensor & tensor);

// Appends frames along the first axis.
void append_frames(HostTensor & clip, const HostTensor & frames);
void append_frames(std::map<std::string, HostTensor> & clips, const std::map<std::string, HostTensor> & frames);

}  // namespace ltx
