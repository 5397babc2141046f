#include "bindings/arrays.h"
#include "bindings/memory.h"
#include "bindings/register.h"
#include "networks/audio_vae.h"
#include "networks/vocoder.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

AudioVaeConfig vae_config(const py::dict & config) {
    return {
        .in_channels = config_value<int64_t>(config, "in_channels"),
        .out_channels = config_value<int64_t>(config, "out_channels"),
        .latent_channels = config_value<int64_t>(config, "latent_channels"),
        .latent_bins = config_value<int64_t>(config, "latent_bins"),
        .base_channels = config_value<int64_t>(config, "base_channels"),
        .channel_multipliers = config_value<std::vector<int64_t>>(config, "channel_multipliers"),
        .num_res_blocks = config_value<int64_t>(config, "num_res_blocks"),
        .mel_bins = config_value<int64_t>(config, "mel_bins"),
    };
}

VocoderActivation parse_activation(const std::string & name) {
    if (name == "leaky_relu") {
        return VocoderActivation::LeakyRelu;
    }
    if (name == "snakebeta") {
        return VocoderActivation::SnakeBeta;
    }
    throw UnsupportedError("vocoder: activation '", name, "' is not implemented");
}

FinalActivation parse_final_activation(const std::string & name) {
    if (name == "tanh") {
        return FinalActivation::Tanh;
    }
    if (name == "clamp") {
        return FinalActivation::Clamp;
    }
    if (name == "none") {
        return FinalActivation::None;
    }
    throw UnsupportedError("vocoder: final activation '", name, "' is not implemented");
}

GeneratorConfig generator_config(const py::dict & config) {
    using Integers = std::vector<int64_t>;
    return {
        .in_channels = config_value<int64_t>(config, "in_channels"),
        .out_channels = config_value<int64_t>(config, "out_channels"),
        .upsample_initial_channel = config_value<int64_t>(config, "upsample_initial_channel"),
        .upsample_rates = config_value<Integers>(config, "upsample_rates"),
        .upsample_kernel_sizes = config_value<Integers>(config, "upsample_kernel_sizes"),
        .resblock_kernel_sizes = config_value<Integers>(config, "resblock_kernel_sizes"),
        .resblock_dilation_sizes = config_value<std::vector<Integers>>(config, "resblock_dilation_sizes"),
        .activation = parse_activation(config_value<std::string>(config, "activation")),
        .final_bias = config_value<bool>(config, "final_bias"),
        .final_activation = parse_final_activation(config_value<std::string>(config, "final_activation")),
    };
}

VocoderConfig vocoder_config(const py::dict & config) {
    VocoderConfig result{generator_config(config_value<py::dict>(config, "generator")), {}};
    const auto bwe = config_value<std::optional<py::dict>>(config, "bwe");
    if (!bwe) {
        return result;
    }
    const auto base_rate = config_value<int64_t>(config, "base_sample_rate_hz");
    const auto rate = config_value<int64_t>(config, "sample_rate_hz");
    if (base_rate < 1 || rate % base_rate != 0) {
        throw ConfigError("bandwidth extension: ", rate, " Hz is no multiple of ", base_rate, " Hz");
    }
    result.bwe = {.generator = generator_config(*bwe),
                  .ratio = rate / base_rate,
                  .hop_length = config_value<int64_t>(config, "bwe_hop_length"),
                  .n_fft = config_value<int64_t>(config, "bwe_n_fft"),
                  .mel_bins = config_value<int64_t>(config, "bwe_mel_bins")};
    return result;
}

AudioRunOptions options_of(std::optional<int64_t> chunk_frames, const std::vector<std::string> & probes,
                           bool composed) {
    if (chunk_frames && *chunk_frames < 1) {
        throw ArgumentError("chunk_frames is ", *chunk_frames, ", expected at least 1 or None");
    }
    return {.chunk_frames = chunk_frames.value_or(0), .probes = {probes.begin(), probes.end()}, .composed = composed};
}

using Probes = std::map<std::string, HostTensor>;

// Binds what the networks of the sound have in common; `call` is the method that runs one of them.
template <typename Net, typename Config>
py::class_<Net> register_network(py::module_ & module, const char * name, const char * doc, Config && parse,
                                 HostTensor (Net::*call)(const HostView &, const AudioRunOptions &, Probes &),
                                 const char * verb, const char * argument, const char * verb_doc) {
    const auto run = [call](Net & network, const FloatArray & array, const AudioRunOptions & options, Probes & probes) {
        const HostView view = view_of(array);
        return unlocked([&] { return (network.*call)(view, options, probes); });
    };
    py::class_<Net> network(module, name, doc);
    def_activation_bytes(network);
    network
        .def(py::init([parse](const TensorTable & table, const py::dict & config, std::shared_ptr<Backend> device) {
                 return std::make_unique<Net>(table, parse(config), std::move(device));
             }),
             py::arg("table"), py::arg("config"), py::arg("device"), "Claims names and shapes of the table.")
        .def(
            "measure",
            [](Net & network, int64_t length) {
                return memory_dict(unlocked([&] { return network.measure(length); }));
            },
            py::arg("length"), "Bytes that so many frames or steps of input take, without loading weights.")
        .def("load", &Net::load, py::call_guard<py::gil_scoped_release>(), "Maps or converts the weights.")
        .def_property_readonly("weight_bytes", &Net::weight_bytes)
        .def("probe_names", &Net::probe_names, py::call_guard<py::gil_scoped_release>())
        .def(
            verb,
            [run](Net & network, const FloatArray & array, std::optional<int64_t> chunk_frames, bool composed) {
                Probes probes;
                return to_numpy(run(network, array, options_of(chunk_frames, {}, composed), probes));
            },
            py::arg(argument), py::arg("chunk_frames") = py::none(), py::arg("composed") = false, verb_doc)
        .def(
            "probe",
            [run](Net & network, const FloatArray & array, const std::vector<std::string> & names, bool composed) {
                Probes probes;
                run(network, array, options_of({}, names, composed), probes);
                return to_dict(std::move(probes));
            },
            py::arg(argument), py::arg("names"), py::arg("composed") = false,
            "Runs whole and returns intermediate results by name, channels last.");
    return network;
}

}  // namespace

void register_audio(py::module_ & module) {
    register_network<AudioDecoderNetwork>(
        module, "AudioDecoder", "The decoder of the audio VAE.", vae_config, &AudioDecoderNetwork::decode, "decode",
        "latent",
        "Normalised latent (channels, L, bins) -> log-mel spectrum (2, 4 L - 3, mel bins), natural logarithms.\n"
        "chunk_frames (None: 256) bounds the memory; composed uses stock operations.");
    register_network<AudioEncoderNetwork>(
        module, "AudioEncoder", "The encoder of the audio VAE.", vae_config, &AudioEncoderNetwork::encode, "encode",
        "mel",
        "Log-mel spectrum (2, steps, mel bins) -> normalised latent (channels, L, bins). chunk_frames (None: 256),\n"
        "counted in latent frames, bounds the memory; composed uses stock operations.");
    register_network<VocoderNetwork>(
        module, "Vocoder", "Mel spectrum to wave, always computed in float32.", vocoder_config, &VocoderNetwork::vocode,
        "vocode", "mel",
        "Log-mel spectrum (2, steps, bins) -> wave (2, n), -1..1. chunk_frames (None: 768) bounds the memory: longer\n"
        "sounds run in parts that overlap by `reach_frames`; composed uses stock operations.")
        .def_property_readonly("reach_frames", &VocoderNetwork::reach_frames,
                               "Mel frames to either side on which a sample may depend.");
}

}  // namespace ltx::bindings
