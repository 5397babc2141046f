#include "networks/duration_head.h"
#include "bindings/arrays.h"
#include "bindings/memory.h"
#include "bindings/register.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

DurationHeadConfig head_config(const py::dict & config) {
    return {
        .video_width = config_value<int64_t>(config, "video_width"),
        .audio_width = config_value<int64_t>(config, "audio_width"),
        .width = config_value<int64_t>(config, "width"),
        .num_queries = config_value<int64_t>(config, "num_queries"),
        .num_heads = config_value<int64_t>(config, "num_heads"),
        .hidden_width = config_value<int64_t>(config, "hidden_width"),
    };
}

}  // namespace

void register_duration_head(py::module_ & module) {
    py::class_<DurationHeadNetwork> network(module, "DurationHead", "The duration head of LTX-2.5.");
    def_activation_bytes(network);
    network
        .def(py::init([](const TensorTable & table, const py::dict & config, std::shared_ptr<Backend> device) {
                 return std::make_unique<DurationHeadNetwork>(table, head_config(config), std::move(device));
             }),
             py::arg("table"), py::arg("config"), py::arg("device"), "Claims weights; data is read by load().")
        .def("load", &DurationHeadNetwork::load, py::call_guard<py::gil_scoped_release>())
        .def_property_readonly("weight_bytes", &DurationHeadNetwork::weight_bytes)
        .def(
            "measure",
            [](DurationHeadNetwork & head, int64_t rows) {
                return memory_dict(unlocked([&] { return head.measure(rows); }));
            },
            py::arg("rows"), "Bytes that log_seconds() of two contexts of so many rows takes, without loading weights.")
        .def(
            "log_seconds",
            [](DurationHeadNetwork & head, const FloatArray & video, const FloatArray & audio) {
                const HostView video_view = view_of(video);
                const HostView audio_view = view_of(audio);
                return unlocked([&] { return head.log_seconds(video_view, audio_view); });
            },
            py::arg("video"), py::arg("audio"),
            "Contexts (rows, width) -> natural logarithm of the seconds; one of them may have no rows.");
}

}  // namespace ltx::bindings
