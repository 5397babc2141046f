// Runs the transformer: checks the caller's arrays, prepares tables, computes velocities.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/host_tensor.h"
#include "models/transformer/model.h"
#include "models/transformer/stream_tables.h"
#include "networks/network.h"

namespace ltx {

// One stream of a call.
struct Modality {
    HostView latent;                         // (tokens, in_channels)
    HostView context;                        // (rows, context width)
    float sigma;                             // noise level of the stream, 0..1
    HostView timesteps;                      // (tokens,), noise level of each token, 0..1
    HostView positions;                      // (axes, tokens, 2), start and end: seconds, pixels
    std::optional<HostView> attention_mask;  // (tokens, tokens), self-attention weights in 0..1
    std::optional<HostView> keyframes_mask;  // (tokens,), above 0 for a token that stands for one pixel frame
};

struct Perturbation {
    std::vector<int> stg_blocks;  // blocks whose self-attention passes values through, in both streams
    bool isolate = false;         // no attention between the streams
};

struct Velocities {
    std::optional<HostTensor> video;  // (tokens, out_channels)
    std::optional<HostTensor> audio;
    std::map<std::string, HostTensor> probes;
};

class TransformerNetwork : public Network<Transformer> {
public:
    // Only the streams of `use` can run. Throws ConfigError, UnsupportedError, WeightError. Touches no weights.
    TransformerNetwork(TensorTable table, const TransformerConfig & config, const StreamUse & use,
                       std::shared_ptr<Backend> backend);

    // What a velocity call takes, without loading weights.
    NetworkMemory measure(TransformerRun run);

    // At least one stream is needed. Throws ArgumentError (ShapeError for shapes) that names the argument.
    Velocities velocity(const std::optional<Modality> & video, const std::optional<Modality> & audio,
                        const Perturbation & perturbation, const ProbeSet & probes);

private:
    void draft(Graph & graph) override;
    void check_use(bool video, bool audio) const;
    StreamShape check(const std::string & name, const StreamConfig & stream, const Modality & modality) const;
    // Checks a stream and makes the tables of its positions.
    StreamShape place(const std::string & name, const StreamConfig & stream, const Modality & modality,
                      StreamTables & tables) const;
    void feed(const std::string & name, const Modality & modality, const StreamTables & tables,
              const std::optional<Modality> & other, const TransformerRun & run);
    float scaled(float timestep) const { return timestep * config_.timestep_scale; }

    TransformerConfig config_;
    StreamUse use_;
    StreamTables video_tables_;
    StreamTables audio_tables_;
};

}  // namespace ltx
