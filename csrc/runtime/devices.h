// The devices of this build and machine, by the names that users write.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "ggml-backend.h"

namespace ltx {

struct DeviceDescription {
    std::string name;         // "cpu", "cuda:0", "vulkan:0"
    std::string description;  // marketing name
    size_t free_bytes;
    size_t total_bytes;
    std::vector<std::string> features;  // instruction sets of the CPU
};

std::vector<DeviceDescription> list_devices();

// `name` is "cpu", "cuda", "cuda:N", "vulkan:N" or "auto" (the first GPU, else the CPU), in any case. Throws
// ArgumentError.
ggml_backend_dev_t find_device(const std::string & name);

// "cuda:0" for what ggml calls "CUDA0".
std::string device_name(ggml_backend_dev_t device);

// Frees also what is left of a device that was lost.
struct DeviceFree {
    void operator()(ggml_backend_t handle) const;
};
using DeviceHandle = std::unique_ptr<ggml_backend, DeviceFree>;

// Throws BackendError where the driver refuses.
DeviceHandle open_handle(ggml_backend_dev_t device);

bool is_cpu_device(ggml_backend_dev_t device);

// Names of the instruction sets that ggml's kernels were built for.
std::vector<std::string> cpu_features(ggml_backend_dev_t device);

// Cores that this process may use. Hyper-threads share the multipliers, so one thread per core is fastest.
int physical_cores();

}  // namespace ltx
