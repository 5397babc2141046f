// Translates the core's exceptions to the classes of ltx2cpp.errors.
#include "base/error.h"

#include <new>
#include <system_error>

#include "bindings/register.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

void raise(const char * name, const char * text) {
    const py::object type = py::module_::import("ltx2cpp.errors").attr(name);
    PyErr_SetString(type.ptr(), text);
}

}  // namespace

void register_errors(py::module_ &) {
    py::register_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) {
                std::rethrow_exception(pointer);
            }
        } catch (const CheckpointError & e) {
            raise("CheckpointError", e.what());
        } catch (const WeightError & e) {
            raise("WeightError", e.what());
        } catch (const ConfigError & e) {
            raise("ConfigError", e.what());
        } catch (const UnsupportedError & e) {
            raise("UnsupportedError", e.what());
        } catch (const ShapeError & e) {
            raise("ShapeError", e.what());
        } catch (const ArgumentError & e) {
            raise("ArgumentError", e.what());
        } catch (const DeviceMemoryError & e) {
            raise("DeviceMemoryError", e.what());
        } catch (const BackendError & e) {
            raise("BackendError", e.what());
        } catch (const Cancelled & e) {
            raise("Cancelled", e.what());
        } catch (const Error & e) {
            raise("Error", e.what());
        } catch (const std::system_error & e) {  // of a driver while something is copied, or of the system
            raise("BackendError", e.what());
        } catch (const std::bad_alloc &) {
            raise("DeviceMemoryError", "the machine has not enough free memory for this step");
        }
    });
}

}  // namespace ltx::bindings
