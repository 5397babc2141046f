// The error classes of the core. Bindings map each onto the Python class of the same name (ltx2cpp/errors.py).
#pragma once

#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/shape.h"

namespace ltx {

namespace detail {

inline std::string text_of(std::string_view part) {
    return std::string(part);
}

inline std::string text_of(const Shape & shape) {
    return to_string(shape);
}

// Numbers as a person writes them: 0.5, not 0.500000.
template <typename Number>
    requires std::is_arithmetic_v<Number>
std::string text_of(Number number) {
    if constexpr (std::is_integral_v<Number>) {
        return std::to_string(number);
    } else {
        std::array<char, 32> digits;
        std::snprintf(digits.data(), digits.size(), "%g", static_cast<double>(number));
        return digits.data();
    }
}

}  // namespace detail

// The message is its parts one after the other: text, numbers, shapes.
class Error : public std::runtime_error {
public:
    template <typename... Parts>
    explicit Error(std::string_view first, const Parts &... rest)
        : std::runtime_error((std::string(first) + ... + detail::text_of(rest))) {}
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
