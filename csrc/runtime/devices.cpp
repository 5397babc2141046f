#include "runtime/devices.h"

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <fstream>
#include <set>
#include <system_error>
#include <thread>

#include "base/error.h"
#include "runtime/processor.h"

namespace ltx {

namespace {

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

// The logical processors that this process may run on; nothing where the system does not tell.
std::vector<int> usable_processors() {
    std::vector<int> usable;
#ifdef __linux__
    cpu_set_t mask;
    if (::sched_getaffinity(0, sizeof(mask), &mask) == 0) {
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &mask)) {
                usable.push_back(cpu);
            }
        }
    }
#endif
    return usable;
}

bool is_gpu(ggml_backend_dev_t device) {
    const auto type = ggml_backend_dev_type(device);
    return type == GGML_BACKEND_DEVICE_TYPE_GPU || type == GGML_BACKEND_DEVICE_TYPE_IGPU;
}

}  // namespace

std::string device_name(ggml_backend_dev_t device) {
    const std::string name = lower(ggml_backend_dev_name(device));
    const size_t digits = name.find_first_of("0123456789");
    const std::string kind = name.substr(0, digits);
    const std::string known = kind == "mtl" ? "metal" : kind;
    return digits == std::string::npos ? known : known + ":" + name.substr(digits);
}

void DeviceFree::operator()(ggml_backend_t handle) const {
    try {
        ggml_backend_free(handle);
    } catch (const std::system_error &) {
        // Of ggml's Vulkan, which waits for the device first. What lost it was thrown before.
    }
}

DeviceHandle open_handle(ggml_backend_dev_t device) {
    DeviceHandle handle;
    try {
        handle.reset(ggml_backend_dev_init(device, nullptr));
    } catch (const std::exception & e) {  // of ggml's Vulkan
        throw BackendError("device '", device_name(device), "' could not be initialised: ", e.what());
    }
    if (!handle) {
        throw BackendError("device '", device_name(device), "' could not be initialised");
    }
    return handle;
}

bool is_cpu_device(ggml_backend_dev_t device) {
    return ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
}

std::vector<std::string> cpu_features(ggml_backend_dev_t device) {
    std::vector<std::string> features;
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(device);
    const auto get = reinterpret_cast<ggml_backend_get_features_t>(
        ggml_backend_reg_get_proc_address(reg, "ggml_backend_get_features"));
    for (const ggml_backend_feature * f = get ? get(reg) : nullptr; f && f->name; ++f) {
        features.emplace_back(f->name);
    }
    return features;
}

int physical_cores() {
    const std::vector<int> usable = usable_processors();
    if (usable.empty()) {
        return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    }
    // Linux lists the hyper-threads of each core.
    std::set<std::string> cores;
    for (const int cpu : usable) {
        std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
        std::string siblings;
        if (!std::getline(file, siblings)) {
            return static_cast<int>(usable.size());
        }
        cores.insert(siblings);
    }
    return static_cast<int>(cores.size());
}

ggml_backend_dev_t find_device(const std::string & given) {
    const std::string name = lower(given);
    std::string known;
    ggml_backend_dev_t cpu = nullptr;
    check_processor();
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        const std::string own = device_name(device);
        if (own == name || (own == name + ":0") || (name == "auto" && is_gpu(device))) {
            return device;
        }
        cpu = is_cpu_device(device) ? device : cpu;
        known += (known.empty() ? "" : ", ") + own;
    }
    if (name == "auto" && cpu) {
        return cpu;
    }
    throw ArgumentError("device '", name, "' is not one of this build and machine: ", known, " (or auto)");
}

std::vector<DeviceDescription> list_devices() {
    std::vector<DeviceDescription> devices;
    check_processor();
    for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        DeviceDescription d{device_name(device), ggml_backend_dev_description(device), 0, 0, {}};
        ggml_backend_dev_memory(device, &d.free_bytes, &d.total_bytes);
        if (is_cpu_device(device)) {
            d.features = cpu_features(device);
        }
        devices.push_back(std::move(d));
    }
    return devices;
}

}  // namespace ltx
