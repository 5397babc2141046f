#include "bindings/arrays.h"
#include "bindings/memory.h"
#include "bindings/register.h"
#include "networks/text_connector.h"
#include "networks/text_encoder.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

Gemma3Config gemma3_config(const py::dict & config) {
    return {
        .num_layers = config_value<int64_t>(config, "num_layers"),
        .hidden_size = config_value<int64_t>(config, "hidden_size"),
        .intermediate_size = config_value<int64_t>(config, "intermediate_size"),
        .num_heads = config_value<int64_t>(config, "num_heads"),
        .num_kv_heads = config_value<int64_t>(config, "num_kv_heads"),
        .head_dim = config_value<int64_t>(config, "head_dim"),
        .rms_norm_eps = config_value<float>(config, "rms_norm_eps"),
        .query_pre_attn_scalar = config_value<float>(config, "query_pre_attn_scalar"),
        .sliding_window = config_value<int64_t>(config, "sliding_window"),
        .global_layers = config_value<std::vector<bool>>(config, "global_layers"),
        .rope_theta_global = config_value<float>(config, "rope_theta_global"),
        .rope_factor_global = config_value<float>(config, "rope_factor_global"),
        .rope_theta_local = config_value<float>(config, "rope_theta_local"),
        .vocab_size = config_value<int64_t>(config, "vocab_size"),
        .norm_weight_offset = config_value<float>(config, "norm_weight_offset"),
        .embedding_scale = config_value<float>(config, "embedding_scale"),
    };
}

Gemma4Heads gemma4_heads(const py::dict & heads) {
    return {
        .head_dim = config_value<int64_t>(heads, "head_dim"),
        .num_kv_heads = config_value<int64_t>(heads, "num_kv_heads"),
        .shares_keys = config_value<bool>(heads, "shares_keys"),
        .rope_theta = config_value<float>(heads, "rope_theta"),
        .rope_factor = config_value<float>(heads, "rope_factor"),
        .rotated_pairs = config_value<int64_t>(heads, "rotated_pairs"),
    };
}

Gemma4Config gemma4_config(const py::dict & config) {
    return {
        .num_layers = config_value<int64_t>(config, "num_layers"),
        .hidden_size = config_value<int64_t>(config, "hidden_size"),
        .intermediate_size = config_value<int64_t>(config, "intermediate_size"),
        .num_heads = config_value<int64_t>(config, "num_heads"),
        .rms_norm_eps = config_value<float>(config, "rms_norm_eps"),
        .sliding_window = config_value<int64_t>(config, "sliding_window"),
        .global_layers = config_value<std::vector<bool>>(config, "global_layers"),
        .shared_layers = config_value<int64_t>(config, "shared_layers"),
        .shared_intermediate_size = config_value<int64_t>(config, "shared_intermediate_size"),
        .per_layer_width = config_value<int64_t>(config, "per_layer_width"),
        .local = gemma4_heads(config_value<py::dict>(config, "local_heads")),
        .global = gemma4_heads(config_value<py::dict>(config, "global_heads")),
        .vocab_size = config_value<int64_t>(config, "vocab_size"),
        .embedding_scale = config_value<float>(config, "embedding_scale"),
        .placeholder_ids = config_value<std::vector<int32_t>>(config, "placeholder_ids"),
        .pad_id = config_value<int32_t>(config, "pad_id"),
        .final_logit_softcap = config_value<float>(config, "final_logit_softcap"),
    };
}

GemmaConfig gemma_config(const py::dict & config) {
    const auto family = config_value<std::string>(config, "family");
    if (family == "gemma4") {
        return gemma4_config(config);
    }
    if (family != "gemma3") {
        throw UnsupportedError("text encoder: family '", family, "' is neither gemma3 nor gemma4");
    }
    return gemma3_config(config);
}

FeatureExtractorConfig projection_config(const py::dict & config) {
    const auto variant = config_value<std::string>(config, "variant");
    if (variant != "v1" && variant != "v2") {
        throw UnsupportedError("text projection: variant '", variant, "' is neither v1 nor v2");
    }
    return {
        .variant = variant == "v1" ? FeatureVariant::V1 : FeatureVariant::V2,
        .hidden_size = config_value<int64_t>(config, "hidden_size"),
        .num_states = config_value<int64_t>(config, "num_states"),
        .video_width = config_value<int64_t>(config, "video_width"),
        .audio_width = config_value<int64_t>(config, "audio_width"),
    };
}

TextConnectorConfig connector_config(const py::dict & config) {
    if (const auto type = config_value<std::string>(config, "rope_type"); type != "split") {
        throw UnsupportedError("text connector: rope_type '", type, "' is not implemented, only split");
    }
    return {
        .num_heads = config_value<int64_t>(config, "num_heads"),
        .head_dim = config_value<int64_t>(config, "head_dim"),
        .num_layers = config_value<int64_t>(config, "num_layers"),
        .num_registers = config_value<int64_t>(config, "num_registers"),
        .gated_attention = config_value<bool>(config, "gated_attention"),
        .ff_bias = config_value<bool>(config, "ff_bias"),
        .rope_double = config_value<bool>(config, "rope_double"),
        .rope_theta = config_value<double>(config, "rope_theta"),
        .max_pos = config_value<double>(config, "max_pos"),
        .norm_eps = config_value<float>(config, "norm_eps"),
    };
}

std::span<const int32_t> ids_of(const IntArray & ids) {
    if (ids.ndim() != 1) {
        throw ShapeError("ids has shape ", Shape(ids.shape(), ids.shape() + ids.ndim()), ", expected (tokens,)");
    }
    return {ids.data(), static_cast<size_t>(ids.size())};
}

// Adds what writes a text token by token.
void def_prediction(py::class_<TextEncoderNetwork> & network) {
    network
        .def(
            "open_cache",
            [](TextEncoderNetwork & network, int64_t capacity) {
                return unlocked([&] { return network.open_cache(capacity); });
            },
            py::arg("capacity"), "Room for the keys and values of so many tokens of one text.")
        .def(
            "predict",
            [](TextEncoderNetwork & network, TokenCache & cache, const IntArray & ids) {
                const auto tokens = ids_of(ids);
                return to_numpy(unlocked([&] { return network.predict(cache, tokens); }));
            },
            py::arg("cache"), py::arg("ids"),
            "Appends token ids (n,) to the text of a cache; returns the logits (vocabulary,) of the token after them.")
        .def(
            "measure_prediction",
            [](TextEncoderNetwork & network, int64_t prompt_tokens, int64_t capacity) {
                return memory_dict(unlocked([&] { return network.measure_prediction(prompt_tokens, capacity); }));
            },
            py::arg("prompt_tokens"), py::arg("capacity"),
            "Bytes that a text takes that starts with so many tokens and grows to `capacity`, without loading "
            "weights.");
}

void register_encoder(py::module_ & module) {
    py::class_<TokenCache>(module, "TokenCache", "The keys and values of a text that grows token by token.")
        .def_property_readonly("tokens", &TokenCache::tokens)
        .def_property_readonly("capacity", &TokenCache::capacity)
        .def_property_readonly("size_bytes", &TokenCache::size_bytes);
    py::class_<TextEncoderNetwork> network(module, "TextEncoder",
                                           "A Gemma text model with the projection of its hidden states.");
    def_stream_weights(network);
    def_activation_bytes(network);
    def_prediction(network);
    network
        .def(
            "measure",
            [](TextEncoderNetwork & network, int64_t tokens) {
                return memory_dict(unlocked([&] { return network.measure(tokens); }));
            },
            py::arg("tokens"), "Bytes that encoding so many tokens takes, without loading weights.")
        .def(py::init([](const TensorTable & table, const py::dict & config,
                         const std::optional<TensorTable> & projection_table,
                         const std::optional<py::dict> & projection, std::shared_ptr<Backend> device) {
                 std::optional<TextEncoderNetwork::Projection> features;
                 if (projection_table && projection) {
                     features = {*projection_table, projection_config(*projection)};
                 }
                 return std::make_unique<TextEncoderNetwork>(table, gemma_config(config), std::move(features), device);
             }),
             py::arg("gemma_table"), py::arg("gemma_config"), py::arg("projection_table").none(true),
             py::arg("projection_config").none(true), py::arg("device"),
             "Claims names and shapes of both tables; None for the projection leaves `encode` out.")
        .def("load", &TextEncoderNetwork::load, py::call_guard<py::gil_scoped_release>(),
             "Maps or converts the weights.")
        .def_property_readonly("weight_bytes", &TextEncoderNetwork::weight_bytes)
        .def("probe_names", &TextEncoderNetwork::probe_names, py::call_guard<py::gil_scoped_release>())
        .def(
            "hidden_states",
            [](TextEncoderNetwork & network, const IntArray & ids) {
                const auto tokens = ids_of(ids);
                return to_numpy(unlocked([&] { return network.hidden_states(tokens); }));
            },
            py::arg("ids"),
            "Returns float32 (layers + 1, n, hidden) for token ids (n,): the scaled embedding, the stream after each\n"
            "layer but the last, the normed stream after the last.")
        .def(
            "encode",
            [](TextEncoderNetwork & network, const IntArray & ids) {
                const auto tokens = ids_of(ids);
                TextFeatures features = unlocked([&] { return network.encode(tokens); });
                return py::make_tuple(to_numpy(std::move(features.video)), to_numpy(std::move(features.audio)));
            },
            py::arg("ids"),
            "Returns the projected features of token ids (n,): float32 (n, video width) and (n, audio width).")
        .def(
            "probe",
            [](TextEncoderNetwork & network, const IntArray & ids, const ProbeSet & names) {
                const auto tokens = ids_of(ids);
                return to_dict(unlocked([&] { return network.probe(tokens, names); }));
            },
            py::arg("ids"), py::arg("names"),
            "Returns intermediate results (n, width) of a run by name; `probe_names` lists them.");
}

void register_connector(py::module_ & module) {
    py::class_<TextConnectorNetwork> network(module, "TextConnector",
                                             "One embeddings connector: features and registers to context.");
    def_stream_weights(network);
    def_activation_bytes(network);
    network
        .def(
            "measure",
            [](TextConnectorNetwork & network, int64_t tokens, int64_t rows) {
                return memory_dict(unlocked([&] { return network.measure(tokens, rows); }));
            },
            py::arg("tokens"), py::arg("rows") = 1024,
            "Bytes that `run` takes for so many tokens, without loading weights.")
        .def(py::init([](const TensorTable & table, const py::dict & config, std::shared_ptr<Backend> device) {
                 return std::make_unique<TextConnectorNetwork>(table, connector_config(config), device);
             }),
             py::arg("table"), py::arg("config"), py::arg("device"), "Claims names and shapes of the table.")
        .def("load", &TextConnectorNetwork::load, py::call_guard<py::gil_scoped_release>(),
             "Maps or converts the weights.")
        .def_property_readonly("weight_bytes", &TextConnectorNetwork::weight_bytes)
        .def("probe_names", &TextConnectorNetwork::probe_names, py::call_guard<py::gil_scoped_release>())
        .def(
            "run",
            [](TextConnectorNetwork & network, const FloatArray & features, int64_t rows) {
                const HostView view = view_of(features);
                return to_numpy(unlocked([&] { return network.run(view, rows); }));
            },
            py::arg("features"), py::arg("rows") = 1024,
            "Returns the context (rows, width) of features (n, width) of the real tokens, n at most `rows`.")
        .def(
            "probe",
            [](TextConnectorNetwork & network, const FloatArray & features, const ProbeSet & names, int64_t rows) {
                const HostView view = view_of(features);
                return to_dict(unlocked([&] { return network.probe(view, rows, names); }));
            },
            py::arg("features"), py::arg("names"), py::arg("rows") = 1024,
            "Returns intermediate results (rows, width) of a run by name; `probe_names` lists them.");
}

}  // namespace

void register_text(py::module_ & module) {
    register_encoder(module);
    register_connector(module);
}

}  // namespace ltx::bindings
