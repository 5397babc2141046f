#include "networks/transformer.h"
#include "bindings/arrays.h"
#include "bindings/memory.h"
#include "bindings/register.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

std::optional<StreamConfig> audio_config(const py::dict & config) {
    if (!config_value<bool>(config, "audio_stream")) {
        return std::nullopt;
    }
    return StreamConfig{.names = kAudioNames,
                        .num_heads = config_value<int64_t>(config, "audio_num_heads"),
                        .head_dim = config_value<int64_t>(config, "audio_head_dim"),
                        .in_channels = config_value<int64_t>(config, "audio_in_channels"),
                        .out_channels = config_value<int64_t>(config, "audio_out_channels"),
                        .context_width = config_value<int64_t>(config, "audio_cross_attention_dim"),
                        .ff_bias = config_value<bool>(config, "audio_ff_bias"),
                        .max_pos = {config_value<double>(config, "audio_max_pos")}};
}

TransformerConfig transformer_config(const py::dict & config) {
    if (const auto type = config_value<std::string>(config, "rope_type"); type != "split") {
        throw UnsupportedError("transformer: rope_type is '", type, "'; only 'split' is implemented");
    }
    TransformerConfig result{
        .num_layers = config_value<int>(config, "num_layers"),
        .video = {.names = kVideoNames,
                  .num_heads = config_value<int64_t>(config, "num_heads"),
                  .head_dim = config_value<int64_t>(config, "head_dim"),
                  .in_channels = config_value<int64_t>(config, "in_channels"),
                  .out_channels = config_value<int64_t>(config, "out_channels"),
                  .context_width = config_value<int64_t>(config, "cross_attention_dim"),
                  .ff_bias = config_value<bool>(config, "ff_bias"),
                  .max_pos = config_value<std::vector<double>>(config, "max_pos")},
        .audio = audio_config(config),
        .gated_attention = config_value<bool>(config, "gated_attention"),
        .cross_attention_adaln = config_value<bool>(config, "cross_attention_adaln"),
        .prompt_adaln = config_value<bool>(config, "prompt_adaln"),
        .caption_projection = config_value<bool>(config, "caption_projection"),
        .caption_channels = config_value<int64_t>(config, "caption_channels"),
        .keyframes_embedding = config_value<bool>(config, "keyframes_embedding"),
        .norm_eps = config_value<float>(config, "norm_eps"),
        .rope_theta = config_value<double>(config, "rope_theta"),
        .rope_double = config_value<bool>(config, "rope_double"),
        .timestep_scale = config_value<float>(config, "timestep_scale"),
        .av_gate_timestep_scale = config_value<float>(config, "av_gate_timestep_scale"),
    };
    if (result.video.max_pos.size() != 3) {
        throw ConfigError("transformer: max_pos has ", result.video.max_pos.size(),
                          " values, expected time, height and width");
    }
    return result;
}

// The arrays of one stream, alive for the length of a call.
struct ModalityArrays {
    FloatArray latent, context, timesteps, positions;
    std::optional<FloatArray> attention_mask;
    std::optional<FloatArray> keyframes_mask;
    float sigma;

    // `modality` has the attributes of ltx2cpp's Modality. Shapes and values are left to the network.
    ModalityArrays(const std::string & name, const py::object & modality)
        : latent(array(name, modality, "latent")),
          context(array(name, modality, "context")),
          timesteps(array(name, modality, "timesteps")),
          positions(array(name, modality, "positions")),
          sigma(number(name, modality, "sigma")) {
        if (!value(name, modality, "attention_mask").is_none()) {
            attention_mask = array(name, modality, "attention_mask");
        }
        if (!value(name, modality, "keyframes_mask").is_none()) {
            keyframes_mask = array(name, modality, "keyframes_mask");
        }
    }

    Modality view() const {
        Modality modality{.latent = view_of(latent),
                          .context = view_of(context),
                          .sigma = sigma,
                          .timesteps = view_of(timesteps),
                          .positions = view_of(positions),
                          .attention_mask = std::nullopt,
                          .keyframes_mask = std::nullopt};
        if (attention_mask) {
            modality.attention_mask = view_of(*attention_mask);
        }
        if (keyframes_mask) {
            modality.keyframes_mask = view_of(*keyframes_mask);
        }
        return modality;
    }

private:
    static py::object value(const std::string & name, const py::object & modality, const char * key) {
        if (!py::hasattr(modality, key)) {
            throw ArgumentError("velocity: ", name, " lacks '", key, "'");
        }
        return modality.attr(key);
    }

    static FloatArray array(const std::string & name, const py::object & modality, const char * key) {
        // `ensure` leaves an error behind only as null; what numpy says is replaced by a sentence of ours.
        FloatArray result = FloatArray::ensure(value(name, modality, key));
        if (!result) {
            PyErr_Clear();
            throw ArgumentError("velocity: ", name, " ", key, " is no array of real numbers");
        }
        return result;
    }

    static float number(const std::string & name, const py::object & modality, const char * key) {
        try {
            return value(name, modality, key).cast<float>();
        } catch (const py::cast_error &) {
            throw ArgumentError("velocity: ", name, " ", key, " is no number");
        }
    }
};

py::dict velocity(TransformerNetwork & network, const std::optional<py::object> & video,
                  const std::optional<py::object> & audio, std::vector<int> stg_blocks, bool isolate,
                  const std::vector<std::string> & probes) {
    std::optional<ModalityArrays> video_arrays;
    std::optional<ModalityArrays> audio_arrays;
    std::optional<Modality> video_view;
    std::optional<Modality> audio_view;
    if (video) {
        video_arrays.emplace("video", *video);
        video_view = video_arrays->view();
    }
    if (audio) {
        audio_arrays.emplace("audio", *audio);
        audio_view = audio_arrays->view();
    }
    Velocities result = unlocked([&] {
        return network.velocity(video_view, audio_view, {std::move(stg_blocks), isolate},
                                ProbeSet(probes.begin(), probes.end()));
    });
    py::dict out;
    out["video"] = result.video ? py::object(to_numpy(std::move(*result.video))) : py::none();
    out["audio"] = result.audio ? py::object(to_numpy(std::move(*result.audio))) : py::none();
    out["probes"] = to_dict(std::move(result.probes));
    return out;
}

}  // namespace

void register_transformer(py::module_ & module) {
    py::class_<StreamShape>(module, "StreamShape", "Sizes of one stream in a transformer call.")
        .def(py::init([](int64_t tokens, int64_t context_rows, int64_t noise_levels, bool masked) {
                 return StreamShape{
                     .tokens = tokens, .context_rows = context_rows, .noise_levels = noise_levels, .masked = masked};
             }),
             py::arg("tokens"), py::arg("context_rows"), py::arg("noise_levels") = 1, py::arg("masked") = false)
        .def_readonly("tokens", &StreamShape::tokens)
        .def_readonly("context_rows", &StreamShape::context_rows)
        .def_readonly("noise_levels", &StreamShape::noise_levels, "Different noise levels among the tokens.")
        .def_readonly("masked", &StreamShape::masked, "Whether self-attention takes a mask.");

    py::class_<TransformerNetwork> network(module, "Transformer", "The audio-video diffusion transformer.");
    def_stream_weights(network);
    network
        .def(
            "measure",
            [](TransformerNetwork & network, const std::optional<StreamShape> & video,
               const std::optional<StreamShape> & audio, std::vector<int> stg_blocks, bool isolate) {
                TransformerRun run{video, audio, {}, isolate};
                run.stg_blocks.insert(stg_blocks.begin(), stg_blocks.end());
                return memory_dict(unlocked([&] { return network.measure(run); }));
            },
            py::arg("video"), py::arg("audio"), py::arg("stg_blocks") = std::vector<int>{}, py::arg("isolate") = false,
            "Bytes that a velocity call takes, without loading weights. A stream that is None is absent.")
        .def(py::init([](const TensorTable & table, const py::dict & config, std::shared_ptr<Backend> device,
                         bool video, bool audio) {
                 return std::make_unique<TransformerNetwork>(table, transformer_config(config), StreamUse{video, audio},
                                                             std::move(device));
             }),
             py::arg("table"), py::arg("config"), py::arg("device"), py::arg("video") = true, py::arg("audio") = true,
             "Binds weights by name and shape without reading them; `config` holds the fields of TransformerConfig.\n"
             "With video or audio False the stream cannot run, and its weights are checked but not loaded.")
        .def("load", &TransformerNetwork::load, py::call_guard<py::gil_scoped_release>(),
             "Maps or converts the weights; the first velocity does it otherwise.")
        .def_property_readonly("weight_bytes", &TransformerNetwork::weight_bytes, "Bytes of the stored weights in use.")
        .def("probe_names", &TransformerNetwork::probe_names, py::call_guard<py::gil_scoped_release>(),
             "Lists the intermediate results that velocity can hand back: module paths of the reference;\n"
             "'transformer_blocks.N' is the video stream after block N, 'transformer_blocks.N.audio' the audio stream.")
        .def("velocity", &velocity, py::arg("video"), py::arg("audio"), py::arg("stg_blocks") = std::vector<int>{},
             py::arg("isolate") = false, py::arg("probes") = std::vector<std::string>{},
             R"(Predicts the velocity (noise minus clean latent) of both streams.

Args:
    video: None, or a Modality: latent (tokens, channels), context (rows, width), sigma 0..1,
        timesteps (tokens,) 0..1, positions (3, tokens, 2) as start and end in seconds and pixels, and
        attention_mask (tokens, tokens), self-attention weights in 0..1, or None, and keyframes_mask
        (tokens,), above 0 for tokens that stand for one pixel frame, or None.
    audio: None, or the same with positions (1, tokens, 2) in seconds.
    stg_blocks: Blocks in which self-attention passes each token's own value through.
    isolate: Leaves out the attention between the streams.
    probes: Names out of probe_names().

Returns:
    A dictionary: video and audio (tokens, channels) float32 or None, probes by name. Modulation probes have
    one row per distinct timestep, in the order in which tokens show them.

Raises:
    ArgumentError: Neither stream, unknown probe or block, values not finite or out of range.
    ShapeError: An array's shape does not fit the model or the other arrays.)");
}

}  // namespace ltx::bindings
