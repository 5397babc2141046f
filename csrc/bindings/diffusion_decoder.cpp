#include "networks/diffusion_decoder.h"
#include "bindings/arrays.h"
#include "bindings/memory.h"
#include "bindings/register.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

GridSize grid_size(const std::vector<int32_t> & extents) {
    if (extents.size() != 3 || std::ranges::min(extents) < 1) {
        throw ConfigError("video decoder: a window has three extents of at least 1");
    }
    return {extents[0], extents[1], extents[2]};
}

DiffusionDecoderConfig decoder_config(const py::dict & config) {
    DiffusionDecoderConfig result{
        .latent_channels = config_value<int64_t>(config, "latent_channels"),
        .out_channels = config_value<int64_t>(config, "out_channels"),
        .patch_size = config_value<int64_t>(config, "patch_size"),
        .head_dim = config_value<int64_t>(config, "head_dim"),
        .stages = {},
        .channels = config_value<int64_t>(config, "channels"),
        .depth = config_value<int64_t>(config, "depth"),
        .window = grid_size(config_value<std::vector<int32_t>>(config, "window")),
        .timestep_channels = config_value<int64_t>(config, "timestep_channels"),
        .timestep_scale = config_value<float>(config, "timestep_scale"),
        .rounds_gated = config_value<bool>(config, "rounds_gated"),
    };
    for (const py::handle entry : config_value<py::sequence>(config, "stages")) {
        const auto stage = entry.cast<py::dict>();
        const GridSize stride = grid_size(config_value<std::vector<int32_t>>(stage, "stride"));
        result.stages.push_back({
            .channels = config_value<int64_t>(stage, "channels"),
            .depth = config_value<int64_t>(stage, "depth"),
            .window = grid_size(config_value<std::vector<int32_t>>(stage, "window")),
            .stride = {stride.time, stride.height, stride.width},
            .reduction = config_value<int64_t>(stage, "reduction"),
        });
    }
    if (result.stages.empty()) {
        throw ConfigError("video decoder: no stages");
    }
    return result;
}

}  // namespace

void register_diffusion_decoder(py::module_ & module) {
    py::class_<DiffusionDecoderNetwork> network(module, "DiffusionDecoder",
                                                "The diffusion decoder of the video VAE of LTX-2.5.");
    def_activation_bytes(network);
    network
        .def(py::init([](const TensorTable & table, const py::dict & config, std::shared_ptr<Backend> device) {
                 return std::make_unique<DiffusionDecoderNetwork>(table, decoder_config(config), std::move(device));
             }),
             py::arg("table"), py::arg("config"), py::arg("device"), "Claims weights; data is read by load().")
        .def("load", &DiffusionDecoderNetwork::load, py::call_guard<py::gil_scoped_release>())
        .def_property_readonly("weight_bytes", &DiffusionDecoderNetwork::weight_bytes)
        .def("probe_names", &DiffusionDecoderNetwork::probe_names, py::call_guard<py::gil_scoped_release>())
        .def(
            "measure_features",
            [](DiffusionDecoderNetwork & decoder, const Shape & latent) {
                return memory_dict(unlocked([&] { return decoder.measure_features(latent); }));
            },
            py::arg("latent"), "Bytes that features() of a latent (C, F, h, w) takes, without loading weights.")
        .def(
            "measure_frames",
            [](DiffusionDecoderNetwork & decoder, const Shape & features, const Shape & noise) {
                return memory_dict(unlocked([&] { return decoder.measure_frames(features, noise); }));
            },
            py::arg("features"), py::arg("noise"), "Bytes that frames() of these shapes takes.")
        .def(
            "features",
            [](DiffusionDecoderNetwork & decoder, const FloatArray & latent, std::optional<int64_t> chunk_frames) {
                const HostView view = view_of(latent);
                return to_numpy(unlocked([&] { return decoder.features(view, chunk_frames); }));
            },
            py::arg("latent"), py::arg("chunk_frames") = py::none(),
            "Normalised latent (C, F, h, w), no smaller than the windows -> (T, H, W, channels), for frames().")
        .def(
            "frames",
            [](DiffusionDecoderNetwork & decoder, const FloatArray & features, const FloatArray & noise, float timestep,
               bool begins_clip, bool replicate) {
                const DiffusionDecoderNetwork::Tile tile{
                    .features = view_of(features),
                    .noise = view_of(noise),
                    .timestep = timestep,
                    .begins_clip = begins_clip,
                    .edges = replicate ? EdgeRule::Replicate : EdgeRule::Shift,
                };
                return to_numpy(unlocked([&] { return decoder.frames(tile); }));
            },
            py::arg("features"), py::arg("noise"), py::arg("timestep") = 1.0f, py::arg("begins_clip") = true,
            py::arg("replicate") = false,
            "A part of features() and noise (frames, height, width, 3) of level timestep, 0..1 -> what the network "
            "makes\n"
            "of it, (frames, height, width, 3). replicate centres windows over copies of the left and right border.");
}

}  // namespace ltx::bindings
