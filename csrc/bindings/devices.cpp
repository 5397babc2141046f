#include "bindings/devices.h"

#include "base/stopping.h"
#include "bindings/arrays.h"
#include "bindings/register.h"
#include "kernels/cpu_features.h"
#include "runtime/build_facts.h"
#include "runtime/devices.h"
#include "runtime/ggml_log.h"
#include "runtime/machine_peak.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

// Holds no Python object, because devices may be freed on threads without the interpreter's lock.
void log(const char * level, const std::string & sentence) {
    if (!Py_IsInitialized()) {
        return;  // devices are also freed after the interpreter
    }
    const py::gil_scoped_acquire lock;
    py::module_::import("logging").attr("getLogger")("ltx2cpp").attr(level)("%s", sentence);
}

}  // namespace

std::shared_ptr<Backend> open_device(const std::string & name, int threads, const DeviceTraits & traits) {
    return Backend::open(name, threads, [](const std::string & sentence) { log("warning", sentence); }, traits);
}

void register_devices(py::module_ & module) {
    // Before the first device is listed: what a device has to say, it says then.
    route_ggml_log([](bool warns, const std::string & line) {
        try {
            log(warns ? "warning" : "debug", line);
        } catch (py::error_already_set & error) {
            // No exception may pass through ggml's C code.
            const py::gil_scoped_acquire lock;
            error.discard_as_unraisable("a message of ggml");
        }
    });

    py::class_<Backend, std::shared_ptr<Backend>>(module, "Device", "A compute device with its threads.")
        .def(py::init([](const std::string & name, std::optional<int> threads) {
                 return open_device(name, threads.value_or(0));
             }),
             py::arg("name") = "auto", py::arg("threads") = py::none(),
             "Opens 'cpu', 'cuda', 'cuda:N', 'vulkan:N' or 'auto'; threads None takes the physical cores.")
        .def_property_readonly("name", &Backend::name)
        .def_property_readonly("threads", &Backend::threads)
        .def(
            "measure_peak",
            [](const std::shared_ptr<Backend> & self) {
                const MachinePeak peak = measure_peak(self);
                return std::pair(peak.flop_per_s, peak.copy_bytes_per_s);
            },
            py::call_guard<py::gil_scoped_release>(),
            "Returns the best rate of 16-bit products in operations per second and of copies in bytes per second.")
        .def(
            "measure_int8_peak", [](const Backend & self) { return measure_int8_peak(self.threads()); },
            py::call_guard<py::gil_scoped_release>(),
            "Returns the best rate of 8-bit products on this CPU in operations per second.")
        .def("start_profile", &Backend::start_profile, "Times every operation from here on.")
        .def(
            "take_profile",
            [](Backend & self) {
                py::dict result;
                for (const auto & [name, time] : self.take_profile()) {
                    result[py::str(name)] = std::pair(time.nodes, time.seconds);
                }
                return result;
            },
            "Ends timing; returns the number of nodes and the seconds of each operation.")
        .def("set_stopping", &Backend::set_stopping, py::arg("stop"),
             "While set, what is loaded or computed here ends with Cancelled within a fraction of a second.")
        .def_property_readonly(
            "is_stopping",
            [](const Backend & self) {
                const WorkingFor working(self.stop_request());
                return stopping();
            },
            "Whether what computes here is to end, or the process.")
        .def_property_readonly("runs_custom_ops", &Backend::runs_custom_ops,
                               "Whether the project's own kernels run here; else graphs use ggml's operations only.");

    module.def("set_stopping", &set_stopping, py::arg("stop"),
               "While set, computations under way end with Cancelled within a fraction of a second, and none begins.");

    module.def("has_avx512", &has_avx512, "Whether this CPU has AVX-512 (F, BW, VL, DQ).");
    module.def("physical_cores", &physical_cores, "Counts the cores that this process may run on.");

    module.def(
        "devices",
        [] {
            py::list result;
            for (const DeviceDescription & device : list_devices()) {
                py::dict entry;
                entry["name"] = device.name;
                entry["description"] = device.description;
                entry["free_bytes"] = device.free_bytes;
                entry["total_bytes"] = device.total_bytes;
                entry["features"] = device.features;
                result.append(entry);
            }
            return result;
        },
        "Lists the devices of this build and machine as dictionaries.");

    module.def(
        "build_facts",
        [] {
            const BuildFacts facts = build_facts();
            py::dict result;
            result["commit"] = facts.commit;
            result["compiler"] = facts.compiler;
            result["build_type"] = facts.build_type;
            result["native"] = facts.native;
            result["backends"] = facts.backends;
            result["ggml"] = facts.ggml;
            return result;
        },
        "Returns what this build is made of.");
}

}  // namespace ltx::bindings
