// numpy arrays in and out, and configurations from dictionaries.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <string>

#include "base/error.h"
#include "base/host_tensor.h"

namespace ltx::bindings {

// Whatever numpy can offer as C-ordered float32, converted once if needed.
using FloatArray = pybind11::array_t<float, pybind11::array::c_style | pybind11::array::forcecast>;
using IntArray = pybind11::array_t<int32_t, pybind11::array::c_style | pybind11::array::forcecast>;

inline HostView view_of(const FloatArray & array) {
    return {Shape(array.shape(), array.shape() + array.ndim()), {array.data(), static_cast<size_t>(array.size())}};
}

// Moves a result into numpy; the array owns the memory through a capsule.
inline pybind11::array_t<float> to_numpy(HostTensor tensor, const Shape & shape) {
    auto * owned = new std::vector<float>(std::move(tensor.values));
    const pybind11::capsule owner(owned, [](void * pointer) { delete static_cast<std::vector<float> *>(pointer); });
    return pybind11::array_t<float>(shape, owned->data(), owner);
}

inline pybind11::array_t<float> to_numpy(HostTensor tensor) {
    const Shape shape = tensor.shape;
    return to_numpy(std::move(tensor), shape);
}

// Results of probes by name.
inline pybind11::dict to_dict(std::map<std::string, HostTensor> tensors) {
    pybind11::dict result;
    for (auto & [name, tensor] : tensors) {
        result[pybind11::str(name)] = to_numpy(std::move(tensor));
    }
    return result;
}

// Calls `work` without the interpreter lock. Arrays must have been converted before.
template <typename Work>
auto unlocked(Work && work) {
    const pybind11::gil_scoped_release release;
    return work();
}

// A typed value of a configuration dictionary; throws ConfigError when it is absent or of another type.
template <typename T>
T config_value(const pybind11::dict & config, const char * key) {
    if (!config.contains(key)) {
        throw ConfigError("configuration lacks '", key, "'");
    }
    try {
        return config[key].cast<T>();
    } catch (const pybind11::cast_error &) {
        throw ConfigError("configuration value '", key, "' has an unexpected type");
    }
}

}  // namespace ltx::bindings
