// The error classes of the core. Bindings map each onto the Python class of the same name (ltx2cpp/errors.py).
#pragma once

#include <stdexcept>
#include <string>

namespace ltx {

class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// A file is malformed, truncated or changed while in use.
class CheckpointError : public Error {
    using Error::Error;
};
// Tensor names or shapes do not fit the configuration.
class WeightError : public Error {
    using Error::Error;
};
// Configuration values are missing, contradictory or out of range.
class ConfigError : public Error {
    using Error::Error;
};
// Known but not implemented: a value, a dtype, an operation on a device.
class UnsupportedError : public Error {
    using Error::Error;
};
// The caller's argument is wrong.
class ArgumentError : public Error {
    using Error::Error;
};
// The caller's array has the wrong shape.
class ShapeError : public ArgumentError {
    using ArgumentError::ArgumentError;
};
// An allocation on the device does not fit.
class DeviceMemoryError : public Error {
    using Error::Error;
};
// The device failed.
class BackendError : public Error {
    using Error::Error;
};
// The caller asked to stop.
class Cancelled : public Error {
    using Error::Error;
};

}  // namespace ltx
