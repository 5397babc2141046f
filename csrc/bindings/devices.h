// Devices as Python opens them.
#pragma once

#include <memory>
#include <string>

#include "runtime/backend.h"

namespace ltx::bindings {

// A device whose warnings go to the package's log.
std::shared_ptr<Backend> open_device(const std::string & name, int threads, const DeviceTraits & traits = {});

}  // namespace ltx::bindings
