#include <tuple>

#include "bindings/arrays.h"
#include "bindings/memory.h"
#include "bindings/register.h"
#include "networks/upsampler.h"
#include "networks/video_decoder.h"
#include "networks/video_encoder.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

using ByteArray = py::array_t<uint8_t, py::array::c_style>;

// Encoder samplers are named with "_res", because each has a shuffled shortcut; a decoder's says so by `residual`.
VaeBlockKind parse_kind(const std::string & half, const std::string & name) {
    const std::string suffix = half == "encoder" ? "_res" : "";
    if (name == "res_x") {
        return VaeBlockKind::ResX;
    }
    if (name == "compress_space" + suffix) {
        return VaeBlockKind::CompressSpace;
    }
    if (name == "compress_time" + suffix) {
        return VaeBlockKind::CompressTime;
    }
    if (name == "compress_all" + suffix) {
        return VaeBlockKind::CompressAll;
    }
    throw UnsupportedError("video ", half, ": blocks of kind '", name, "' are not implemented");
}

SpatialPad parse_padding(const std::string & half, const std::string & name) {
    if (name == "zeros") {
        return SpatialPad::Zeros;
    }
    if (name == "reflect") {
        return SpatialPad::Reflect;
    }
    throw UnsupportedError("video ", half, ": padding '", name, "' is not implemented");
}

VideoVaeConfig parse_config(const py::dict & config, const std::string & half) {
    VideoVaeConfig result{
        .latent_channels = config_value<int64_t>(config, "latent_channels"),
        .patch_size = config_value<int64_t>(config, "patch_size"),
        .base_channels = config_value<int64_t>(config, "decoder_base_channels"),
        .blocks = {},
        .padding = parse_padding(half, config_value<std::string>(config, (half + "_padding").c_str())),
    };
    for (const py::handle entry : config_value<py::sequence>(config, (half + "_blocks").c_str())) {
        const auto block = entry.cast<py::dict>();
        result.blocks.push_back({parse_kind(half, config_value<std::string>(block, "kind")),
                                 config_value<int64_t>(block, "num_layers"), config_value<int64_t>(block, "multiplier"),
                                 config_value<bool>(block, "residual")});
        if (result.blocks.back().num_layers < 1 || result.blocks.back().multiplier < 1) {
            throw ConfigError("video ", half, ": a block has num_layers or multiplier below 1");
        }
    }
    if (result.blocks.empty() || result.latent_channels < 1 || result.patch_size < 1 || result.base_channels < 1) {
        throw ConfigError("video ", half, ": no blocks, or a width or patch size below 1");
    }
    return result;
}

int64_t chunk_of(std::optional<int64_t> chunk_latents) {
    if (chunk_latents && *chunk_latents < 1) {
        throw ArgumentError("chunk_latents is ", *chunk_latents, ", expected at least 1");
    }
    return chunk_latents.value_or(0);
}

VideoDecodeOptions decode_options(std::optional<int64_t> chunk_latents, bool composed,
                                  std::optional<int64_t> tile_latents, const std::vector<std::string> & probes = {}) {
    return {.chunk_latents = chunk_of(chunk_latents),
            .tile_latents = tile_latents,
            .probes = {probes.begin(), probes.end()},
            .composed = composed};
}

VideoEncodeOptions encode_options(std::optional<int64_t> chunk_latents, bool composed,
                                  const std::vector<std::string> & probes = {}) {
    return {.chunk_latents = chunk_of(chunk_latents), .probes = {probes.begin(), probes.end()}, .composed = composed};
}

void register_decoder(py::module_ & module) {
    py::class_<VideoDecodeStream>(module, "VideoDecodeStream", "Frames of one clip, decoded as they are asked for.")
        .def("__iter__", [](py::object self) { return self; })
        .def("__next__",
             [](VideoDecodeStream & stream) {
                 std::optional<HostTensor> frames = unlocked([&] { return stream.next(); });
                 if (!frames) {
                     throw py::stop_iteration();
                 }
                 return to_numpy(std::move(*frames));
             })
        .def_property_readonly("num_frames", &VideoDecodeStream::num_frames, "Frames of the whole clip.")
        .def_property_readonly("activation_bytes", &VideoDecodeStream::activation_bytes,
                               "Largest working memory of a run so far.")
        .def_property_readonly("state_bytes", &VideoDecodeStream::state_bytes, "Memory kept between runs.");

    py::class_<VideoDecoderNetwork, std::shared_ptr<VideoDecoderNetwork>>(module, "VideoDecoder",
                                                                          "The convolutional decoder of the video VAE.")
        .def(py::init([](const TensorTable & table, const py::dict & config, std::shared_ptr<Backend> device) {
                 return std::make_shared<VideoDecoderNetwork>(table, parse_config(config, "decoder"),
                                                              std::move(device));
             }),
             py::arg("table"), py::arg("config"), py::arg("device"), "Claims weights; data is read by load().")
        .def(
            "measure",
            [](VideoDecoderNetwork & network, const Shape & latent, std::optional<int64_t> chunk_latents,
               std::optional<int64_t> tile_latents) {
                const VideoDecodeOptions options = decode_options(chunk_latents, false, tile_latents);
                return memory_dict(unlocked([&] { return network.measure(latent, options); }));
            },
            py::arg("latent"), py::arg("chunk_latents") = py::none(), py::arg("tile_latents") = py::none(),
            "Bytes that decoding a latent of the shape (C, F, h, w) takes, without loading weights.")
        .def("load", &VideoDecoderNetwork::load, py::call_guard<py::gil_scoped_release>())
        .def_property_readonly("weight_bytes", &VideoDecoderNetwork::weight_bytes)
        .def("probe_names", &VideoDecoderNetwork::probe_names, py::call_guard<py::gil_scoped_release>())
        .def(
            "decode",
            [](VideoDecoderNetwork & network, const FloatArray & latent, std::optional<int64_t> chunk_latents,
               bool composed, std::optional<int64_t> tile_latents) {
                const VideoDecodeOptions options = decode_options(chunk_latents, composed, tile_latents);
                const HostView view = view_of(latent);
                return to_numpy(unlocked([&] { return network.decode(view, options); }));
            },
            py::arg("latent"), py::arg("chunk_latents") = py::none(), py::arg("composed") = false,
            py::arg("tile_latents") = py::none(),
            "Normalised latent (C, F, h, w) -> frames (n, height, width, 3), about -1..1, not clamped. chunk_latents\n"
            "(None: by the picture's size) bounds the memory and changes no number; composed uses stock operations.\n"
            "tile_latents cuts pictures into blended tiles of that length along the longer side (0: never; None:\n"
            "tiles of 24 above 4 million pixels), which changes the numbers a little.")
        .def(
            "probe",
            [](VideoDecoderNetwork & network, const FloatArray & latent, const std::vector<std::string> & probes,
               std::optional<int64_t> chunk_latents, bool composed) {
                const auto stream = network.stream(view_of(latent), decode_options(chunk_latents, composed, 0, probes));
                unlocked([&] {
                    while (stream->next()) {
                    }
                });
                return to_dict(stream->probes());
            },
            py::arg("latent"), py::arg("probes"), py::arg("chunk_latents") = py::none(), py::arg("composed") = false,
            "Decodes and returns what the named modules gave, (frames, height, width, channels) each.")
        .def(
            "stream",
            [](VideoDecoderNetwork & network, const FloatArray & latent, std::optional<int64_t> chunk_latents,
               bool composed, std::optional<int64_t> tile_latents) {
                return network.stream(view_of(latent), decode_options(chunk_latents, composed, tile_latents));
            },
            py::arg("latent"), py::arg("chunk_latents") = py::none(), py::arg("composed") = false,
            py::arg("tile_latents") = py::none(),
            "An iterator over the frames of decode, in chunks (n, height, width, 3); memory does not grow with F.");
}

void register_encoder(py::module_ & module) {
    const auto encode = [](VideoEncoderNetwork & network, const py::array & frames, const VideoEncodeOptions & options,
                           std::map<std::string, HostTensor> & probes) {
        const Shape shape(frames.shape(), frames.shape() + frames.ndim());
        if (frames.dtype().is(py::dtype::of<uint8_t>())) {
            const auto bytes = py::cast<ByteArray>(frames);
            const PixelView view = std::span(bytes.data(), static_cast<size_t>(bytes.size()));
            return unlocked([&] { return network.encode(shape, view, options, probes); });
        }
        const auto levels = py::cast<FloatArray>(frames);
        const PixelView view = std::span(levels.data(), static_cast<size_t>(levels.size()));
        return unlocked([&] { return network.encode(shape, view, options, probes); });
    };
    py::class_<VideoEncoderNetwork>(module, "VideoEncoder", "The encoder of the video VAE.")
        .def(py::init([](const TensorTable & table, const py::dict & config, std::shared_ptr<Backend> device) {
                 return std::make_unique<VideoEncoderNetwork>(table, parse_config(config, "encoder"),
                                                              std::move(device));
             }),
             py::arg("table"), py::arg("config"), py::arg("device"), "Claims weights; data is read by load().")
        .def(
            "measure",
            [](VideoEncoderNetwork & network, const Shape & frames, std::optional<int64_t> chunk_latents) {
                const VideoEncodeOptions options = encode_options(chunk_latents, false);
                return memory_dict(unlocked([&] { return network.measure(frames, options); }));
            },
            py::arg("frames"), py::arg("chunk_latents") = py::none(),
            "Bytes that encoding frames of the shape (n, height, width, 3) takes, without loading weights.")
        .def("load", &VideoEncoderNetwork::load, py::call_guard<py::gil_scoped_release>())
        .def_property_readonly("weight_bytes", &VideoEncoderNetwork::weight_bytes)
        .def("probe_names", &VideoEncoderNetwork::probe_names, py::call_guard<py::gil_scoped_release>())
        .def(
            "encode",
            [encode](VideoEncoderNetwork & network, const py::array & frames, std::optional<int64_t> chunk_latents,
                     bool composed) {
                std::map<std::string, HostTensor> probes;
                return to_numpy(encode(network, frames, encode_options(chunk_latents, composed), probes));
            },
            py::arg("frames"), py::arg("chunk_latents") = py::none(), py::arg("composed") = false,
            "RGB levels of 0 to 255 (frames, height, width, 3), bytes or float32 -> normalised latent (C, F, h, w).")
        .def(
            "probe",
            [encode](VideoEncoderNetwork & network, const py::array & frames, const std::vector<std::string> & names,
                     std::optional<int64_t> chunk_latents, bool composed) {
                std::map<std::string, HostTensor> probes;
                encode(network, frames, encode_options(chunk_latents, composed, names), probes);
                return to_dict(std::move(probes));
            },
            py::arg("frames"), py::arg("probes"), py::arg("chunk_latents") = py::none(), py::arg("composed") = false,
            "Encodes and returns what the named modules gave, (frames, height, width, channels) each.");
}

// Scales that the reference's resampler knows, as fractions.
std::pair<int64_t, int64_t> parse_scale(double scale) {
    if (scale == 1.5) {
        return {3, 2};
    }
    if (scale == 2.0 || scale == 4.0) {
        return {static_cast<int64_t>(scale), 1};
    }
    throw UnsupportedError("latent upsampler: spatial_scale ", scale, " is not implemented");
}

UpsamplerConfig parse_upsampler(const py::dict & config) {
    UpsamplerConfig result{
        .in_channels = config_value<int64_t>(config, "in_channels"),
        .mid_channels = config_value<int64_t>(config, "mid_channels"),
        .num_blocks_per_stage = config_value<int64_t>(config, "num_blocks_per_stage"),
        .spatial = config_value<bool>(config, "spatial_upsample"),
        .temporal = config_value<bool>(config, "temporal_upsample"),
        .rational = config_value<bool>(config, "rational_resampler"),
        .scale_numerator = 1,
        .scale_denominator = 1,
    };
    if (config_value<int64_t>(config, "dims") != 3 || result.spatial == result.temporal) {
        throw UnsupportedError(
            "latent upsampler: only three-dimensional ones that enlarge either space or time are "
            "implemented");
    }
    if (result.in_channels < 1 || result.mid_channels < 32 || result.mid_channels % 32 != 0 ||
        result.num_blocks_per_stage < 0) {
        throw ConfigError(
            "latent upsampler: in_channels, mid_channels (a multiple of 32) or num_blocks_per_stage is "
            "out of range");
    }
    // The reference looks at the resampler's flag only when the network is spatial, and at the scale only then.
    result.rational = result.rational && result.spatial;
    if (result.spatial) {
        const double scale = config_value<double>(config, "spatial_scale");
        std::tie(result.scale_numerator, result.scale_denominator) = parse_scale(result.rational ? scale : 2.0);
    }
    return result;
}

void register_upsampler(py::module_ & module) {
    py::class_<UpsamplerNetwork>(module, "Upsampler", "A latent upsampler.")
        .def(py::init([](const TensorTable & table, const py::dict & config, std::shared_ptr<Backend> device) {
                 return std::make_unique<UpsamplerNetwork>(table, parse_upsampler(config), std::move(device));
             }),
             py::arg("table"), py::arg("config"), py::arg("device"), "Claims weights; data is read by load().")
        .def(
            "measure",
            [](UpsamplerNetwork & network, const Shape & latent) {
                return memory_dict(unlocked([&] { return network.measure(latent); }));
            },
            py::arg("latent"), "Bytes that a latent of the shape (C, F, h, w) takes, without loading weights.")
        .def("load", &UpsamplerNetwork::load, py::call_guard<py::gil_scoped_release>())
        .def_property_readonly("weight_bytes", &UpsamplerNetwork::weight_bytes)
        .def(
            "upsample",
            [](UpsamplerNetwork & network, const FloatArray & latent, bool composed) {
                const HostView view = view_of(latent);
                return to_numpy(unlocked([&] { return network.upsample(view, composed); }));
            },
            py::arg("latent"), py::arg("composed") = false,
            "Latent (C, F, h, w) with its statistics undone (z * std + mean) -> (C, F', h', w'), likewise.");
}

}  // namespace

void register_video(py::module_ & module) {
    register_decoder(module);
    register_encoder(module);
    register_upsampler(module);
}

}  // namespace ltx::bindings
