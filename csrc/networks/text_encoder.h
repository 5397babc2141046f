// Token ids to hidden states or to the features that the connectors take.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <span>

#include "models/gemma3/gemma3.h"
#include "models/text_connector/feature_extractor.h"
#include "networks/network.h"
#include "networks/network_memory.h"

namespace ltx {

struct TextFeatures {
    HostTensor video;  // (tokens, video_width)
    HostTensor audio;  // (tokens, audio_width)
};

// Calls from several threads run one after the other. Stages that share a backend must not run at the same time.
class TextStage {
public:
    struct Projection {
        TensorTable table;
        FeatureExtractorConfig config;
    };

    // Claims names and shapes; reads no data.
    TextStage(TensorTable table, const Gemma3Config & config, std::optional<Projection> projection,
              const std::shared_ptr<Backend> & backend);

    // Brings in the weights; the calls below do so themselves.
    void load();

    uint64_t weight_bytes() const;

    // Memory of intermediate results that the last run took and the next may reuse.
    uint64_t activation_bytes();

    // From the next call on, layers' weights are let go after each was computed.
    void stream_weights(PageCache cache);

    // What encoding so many tokens takes, without loading weights.
    StageMemory measure(int64_t tokens);

    // (layers + 1, tokens, hidden)
    HostTensor hidden_states(std::span<const int32_t> ids);

    // Throws ArgumentError when the stage has no projection.
    TextFeatures encode(std::span<const int32_t> ids);

    // Intermediate results of `encode`, or of `hidden_states` when there is no projection.
    std::map<std::string, HostTensor> probe(std::span<const int32_t> ids, const ProbeSet & names);
    std::vector<std::string> probe_names() const;

private:
    void load_weights();
    void build(Graph & graph, int64_t tokens, bool project) const;
    RunOptions run_options(const ProbeSet & probes) const;
    void run(const char * function, std::span<const int32_t> ids, const ProbeSet & probes, bool project);
    void check_ids(const char * function, std::span<const int32_t> ids) const;

    // Before gemma_, whose runner may refer to these weights to the end.
    std::optional<Component<FeatureExtractor>> projection_;
    Component<Gemma3> gemma_;
    std::mutex mutex_;
};

}  // namespace ltx
