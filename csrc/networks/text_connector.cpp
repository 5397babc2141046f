#include "networks/text_connector.h"

#include <numeric>

#include "base/error.h"
#include "nn/rope.h"

namespace ltx {

namespace {

void check_input(const char * function, const HostView & features, int64_t rows, const TextConnectorConfig & config) {
    const Shape & shape = features.shape;
    if (shape.size() != 2 || shape[0] < 1 || shape[1] != config.width()) {
        throw ShapeError(function, ": features has shape ", shape, ", expected (tokens, ", config.width(), ")");
    }
    if (rows < shape[0] || rows % config.num_registers != 0) {
        throw ArgumentError(function, ": rows is ", rows, ", expected a multiple of ", config.num_registers,
                            " registers and at least the ", shape[0], " tokens");
    }
}

}  // namespace

TextConnectorNetwork::TextConnectorNetwork(TensorTable table, const TextConnectorConfig & config,
                                           std::shared_ptr<Backend> backend)
    : Network("text connector", std::move(table), std::move(backend), Streaming::Possible,
              [&](const Scope & scope) { return TextConnector::load(scope, config); }) {}

void TextConnectorNetwork::draft(Graph & graph) {
    build(graph, 1, model().config.num_registers);
}

NetworkMemory TextConnectorNetwork::measure(int64_t tokens, int64_t rows) {
    const auto turn = take_turn();
    return Network::measure({[&](Graph & graph) { build(graph, tokens, rows); }});
}

void TextConnectorNetwork::build(Graph & graph, int64_t tokens, int64_t rows) const {
    const TextConnectorConfig & config = model().config;
    TextConnectorInputs in{
        .features = graph.input("features", GGML_TYPE_F32, {config.width(), tokens, 1, 1}),
        .registers = nullptr,
        .rope = {.cos = graph.input("cos", GGML_TYPE_F32, {config.width() / 2, rows, 1, 1}),
                 .sin = graph.input("sin", GGML_TYPE_F32, {config.width() / 2, rows, 1, 1})},
    };
    if (rows > tokens) {
        in.registers = graph.input("registers", GGML_TYPE_I32, {rows - tokens, 1, 1, 1});
    }
    graph.output("context", model().build(graph, in));
}

void TextConnectorNetwork::compute(const char * function, const HostView & features, int64_t rows,
                                   const ProbeSet & probes) {
    const TextConnectorConfig & config = model().config;
    check_input(function, features, rows, config);
    load_weights();
    const int64_t tokens = features.shape[0];
    const std::string key = std::to_string(tokens) + " of " + std::to_string(rows);
    runner().prepare(key, {.probes = probes}, [&](Graph & graph) { build(graph, tokens, rows); });
    std::vector<float> positions(static_cast<size_t>(rows));
    std::iota(positions.begin(), positions.end(), 0.0f);
    const RopeValues rope = make_rope_values({.width = config.width(),
                                              .theta = config.rope_theta,
                                              .max_pos = {config.max_pos},
                                              .double_ladder = config.rope_double},
                                             positions, rows);
    runner().set("features", features.values);
    runner().set("cos", rope.cos);
    runner().set("sin", rope.sin);
    if (rows > tokens) {
        std::vector<int32_t> registers(static_cast<size_t>(rows - tokens));
        for (int64_t row = tokens; row < rows; ++row) {
            registers[static_cast<size_t>(row - tokens)] = static_cast<int32_t>(row % config.num_registers);
        }
        runner().set("registers", registers);
    }
    compute_graph();
}

HostTensor TextConnectorNetwork::run(const HostView & features, int64_t rows) {
    const auto turn = take_turn();
    compute("run", features, rows, {});
    HostTensor context = runner().fetch("context");
    context.shape = {rows, model().config.width()};
    return context;
}

std::map<std::string, HostTensor> TextConnectorNetwork::probe(const HostView & features, int64_t rows,
                                                              const ProbeSet & names) {
    const auto turn = take_turn();
    check_probes("probe", names);
    compute("probe", features, rows, names);
    auto probes = runner().fetch_probes();
    for (auto & [name, tensor] : probes) {
        tensor.shape = {rows, model().config.width()};
    }
    return probes;
}

}  // namespace ltx
