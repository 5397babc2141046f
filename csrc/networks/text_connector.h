// Text features to the context that the transformer attends to.
#pragma once

#include <map>
#include <mutex>

#include "models/text_connector/text_connector.h"
#include "networks/network.h"
#include "networks/network_memory.h"

namespace ltx {

// Calls from several threads run one after the other. Stages that share a backend must not run at the same time.
class ConnectorStage {
public:
    // Claims names and shapes; reads no data.
    ConnectorStage(TensorTable table, const TextConnectorConfig & config, const std::shared_ptr<Backend> & backend);

    // Brings in the weights; the calls below do so themselves.
    void load();

    uint64_t weight_bytes() const;

    // Memory of intermediate results that the last run took and the next may reuse.
    uint64_t activation_bytes();

    // From the next call on, blocks' weights are let go after each was computed.
    void stream_weights(PageCache cache);

    // What `run` takes, without loading weights.
    StageMemory measure(int64_t tokens, int64_t rows);

    // features: (tokens, width), the real tokens only -> (rows, width). Row i past the tokens starts from register
    // i mod num_registers. `rows` is a multiple of the registers, at least the tokens.
    HostTensor run(const HostView & features, int64_t rows);

    // Intermediate results of `run`.
    std::map<std::string, HostTensor> probe(const HostView & features, int64_t rows, const ProbeSet & names);
    std::vector<std::string> probe_names() const;

private:
    RunOptions run_options(const ProbeSet & probes) const;
    void build(Graph & graph, int64_t tokens, int64_t rows) const;
    void compute(const char * function, const HostView & features, int64_t rows, const ProbeSet & probes);

    Component<TextConnector> connector_;
    std::mutex mutex_;
};

}  // namespace ltx
