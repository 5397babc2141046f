// Normalises the text model's hidden states and projects all of them together to the connectors' widths.
// Source: ltx-core, text_encoders/gemma/feature_extractor.py (FeatureExtractorV1 of LTX-2, V2 from LTX-2.3 on).
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"
#include "weights/weight_store.h"

namespace ltx {

enum class FeatureVariant {
    V1,  // a state is centred and scaled by its range over all tokens; one projection for video and audio, no bias
    V2,  // each token of a state is divided by its RMS; a projection with bias per modality
};

struct FeatureExtractorConfig {
    FeatureVariant variant;
    int64_t hidden_size;
    int64_t num_states;  // layers of the text model + 1
    int64_t video_width;
    int64_t audio_width;  // equal to video_width for V1; 0 where V2 has a projection for video alone
};

// The columns of a stored projection weight run over (hidden, state) with the state fastest, so a product per state
// needs repacked columns. Where the store keeps the file's order instead, the states are interleaved to match.
struct FeatureProjection {
    std::string name;      // module name, for probes
    ggml_tensor * weight;  // ne: [hidden, width, states], or [states * hidden, width] in the file's order
    ggml_tensor * bias;    // ne: [width], or null
    float factor;          // of the projected features, before the bias
};

struct FeatureExtractor {
    FeatureExtractorConfig config;
    std::vector<FeatureProjection> projections;  // V1: one; V2: video and, where there is one, audio

    static FeatureExtractor load(const Scope & scope, const FeatureExtractorConfig & config);
};

// The extraction in one graph: takes the states in any order, one at a time, and keeps none of them where the weights
// allow a product per state.
class FeatureAccumulator {
public:
    FeatureAccumulator(Graph & graph, const FeatureExtractor & extractor, int64_t tokens);

    // state: F32 [hidden, tokens]
    void add(int64_t index, ggml_tensor * state);

    // One per projection, F32 [width, tokens]. Call once, after all states.
    std::vector<ggml_tensor *> finish();

private:
    ggml_tensor * normalise(ggml_tensor * state) const;

    Graph & graph_;
    const FeatureExtractor & extractor_;
    int64_t tokens_;
    std::vector<ggml_tensor *> sums_;      // per projection, F32 [width, tokens]; null: from interleaved_
    ggml_tensor * interleaved_ = nullptr;  // [states, hidden, tokens]
};

}  // namespace ltx
