// Text features to the context that the transformer attends to.
#pragma once

#include <map>

#include "models/text_connector/text_connector.h"
#include "networks/network.h"

namespace ltx {

class TextConnectorNetwork : public Network<TextConnector> {
public:
    TextConnectorNetwork(TensorTable table, const TextConnectorConfig & config, std::shared_ptr<Backend> backend);

    // What `run` takes, without loading weights.
    NetworkMemory measure(int64_t tokens, int64_t rows);

    // features: (tokens, width), the real tokens only -> (rows, width). Row i past the tokens starts from register
    // i mod num_registers. `rows` is a multiple of the registers, at least the tokens.
    HostTensor run(const HostView & features, int64_t rows);

    // Intermediate results of `run`.
    std::map<std::string, HostTensor> probe(const HostView & features, int64_t rows, const ProbeSet & names);

private:
    void draft(Graph & graph) override;
    void build(Graph & graph, int64_t tokens, int64_t rows) const;
    void compute(const char * function, const HostView & features, int64_t rows, const ProbeSet & probes);
};

}  // namespace ltx
