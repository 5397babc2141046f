// Token ids to hidden states or to the features that the connectors take.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <variant>

#include "models/gemma3/gemma3.h"
#include "models/gemma4/gemma4.h"
#include "models/text_connector/feature_extractor.h"
#include "networks/network.h"
#include "networks/text_inputs.h"
#include "networks/token_cache.h"

namespace ltx {

struct TextFeatures {
    HostTensor video;  // (tokens, video_width)
    HostTensor audio;  // (tokens, audio_width), without columns where the projection is for video alone
};

using GemmaConfig = std::variant<Gemma3Config, Gemma4Config>;

// The text model with the projection of its hidden states, if there is one.
struct ProjectedText {
    std::variant<Gemma3, Gemma4> gemma;
    std::optional<FeatureExtractor> projection;
};

class TextEncoderNetwork : public Network<ProjectedText> {
public:
    struct Projection {
        TensorTable table;
        FeatureExtractorConfig config;
    };

    TextEncoderNetwork(TensorTable table, const GemmaConfig & config, std::optional<Projection> projection,
                       std::shared_ptr<Backend> backend);

    // What encoding so many tokens takes, without loading weights.
    NetworkMemory measure(int64_t tokens);

    // (layers + 1, tokens, hidden)
    HostTensor hidden_states(std::span<const int32_t> ids);

    // Throws ArgumentError when there is no projection.
    TextFeatures encode(std::span<const int32_t> ids);

    // Intermediate results of `encode`, or of `hidden_states` when there is no projection.
    std::map<std::string, HostTensor> probe(std::span<const int32_t> ids, const ProbeSet & names);

    // Room for a text of so many tokens, to which predict() appends. Throws ArgumentError, DeviceMemoryError.
    std::unique_ptr<TokenCache> open_cache(int64_t capacity);

    // Appends tokens to a text of open_cache() and returns the logits of the token after them, (vocabulary). The logits
    // are products with the embedding. The cache is as before when this throws.
    HostTensor predict(TokenCache & cache, std::span<const int32_t> ids);

    // What a text takes that begins with so many tokens and grows to `capacity`, without loading weights.
    NetworkMemory measure_prediction(int64_t prompt_tokens, int64_t capacity);

private:
    void draft(Graph & graph) override;
    void build(Graph & graph, int64_t tokens, bool project) const;
    void run(const char * function, std::span<const int32_t> ids, const ProbeSet & probes, bool project);
    void check_ids(const char * function, std::span<const int32_t> ids) const;
    void build_prediction(Graph & graph, const TokenCache & cache, const TokenSpan & span) const;
    // Of the keys of a token in each layer that has its own; the type is known once weights are declared.
    std::vector<int64_t> key_widths() const;
    ggml_type key_type() const;
    TokenCache make_cache(int64_t capacity, bool measuring) const;
};

}  // namespace ltx
