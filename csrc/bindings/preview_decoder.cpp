#include "networks/preview_decoder.h"
#include "bindings/arrays.h"
#include "bindings/memory.h"
#include "bindings/register.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

PreviewDecoderConfig decoder_config(const py::dict & config) {
    const auto widths = config_value<std::vector<int64_t>>(config, "widths");
    PreviewDecoderConfig result{.latent_channels = config_value<int64_t>(config, "latent_channels"),
                                .widths = {},
                                .group_width = config_value<int64_t>(config, "group_width")};
    if (widths.size() != result.widths.size()) {
        throw ConfigError("preview decoder: expected ", result.widths.size(), " widths, found ", widths.size());
    }
    std::copy(widths.begin(), widths.end(), result.widths.begin());
    return result;
}

PreviewPictures wanted_pictures(bool last_only) {
    return last_only ? PreviewPictures::Last : PreviewPictures::All;
}

}  // namespace

void register_preview_decoder(py::module_ & module) {
    py::class_<PreviewStream>(module, "PreviewStream", "Pictures of latent frames, made as they are asked for.")
        .def("__iter__", [](py::object self) { return self; })
        .def("__next__",
             [](PreviewStream & stream) {
                 std::optional<HostTensor> pictures = unlocked([&] { return stream.next(); });
                 if (!pictures) {
                     throw py::stop_iteration();
                 }
                 return to_numpy(std::move(*pictures));
             })
        .def_property_readonly("state_bytes", &PreviewStream::state_bytes, "Memory kept between latent frames.");

    py::class_<PreviewDecoderNetwork, std::shared_ptr<PreviewDecoderNetwork>>(module, "PreviewDecoder",
                                                                              "The tiny autoencoder's decoder.")
        .def(py::init([](const TensorTable & table, const py::dict & config, std::shared_ptr<Backend> device) {
                 return std::make_shared<PreviewDecoderNetwork>(table, decoder_config(config), std::move(device));
             }),
             py::arg("table"), py::arg("config"), py::arg("device"), "Claims weights; data is read by load().")
        .def(
            "measure",
            [](PreviewDecoderNetwork & network, const Shape & latent, bool last_only) {
                return memory_dict(unlocked([&] { return network.measure(latent, wanted_pictures(last_only)); }));
            },
            py::arg("latent"), py::arg("last_only") = false,
            "Bytes that a latent of the shape (C, F, h, w) takes, without loading weights.")
        .def("load", &PreviewDecoderNetwork::load, py::call_guard<py::gil_scoped_release>())
        .def_property_readonly("weight_bytes", &PreviewDecoderNetwork::weight_bytes)
        .def(
            "stream",
            [](PreviewDecoderNetwork & network, const FloatArray & latent, bool last_only, bool composed) {
                return network.stream(view_of(latent), wanted_pictures(last_only), composed);
            },
            py::arg("latent"), py::arg("last_only") = false, py::arg("composed") = false,
            "Normalised latent (C, F, h, w) -> an iterator over pictures (n, 32 h, 32 w, 3), 0..1: one of the first\n"
            "latent frame and 8 of each other one, or with last_only the last of these. composed uses stock\n"
            "operations.");
}

}  // namespace ltx::bindings
