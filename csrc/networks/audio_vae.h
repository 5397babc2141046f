// Audio latent to mel spectrum, and mel spectrum to latent.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/audio_vae/decoder.h"
#include "models/audio_vae/encoder.h"
#include "networks/audio_chunks.h"
#include "networks/network.h"

namespace ltx {

class AudioDecoderNetwork : public Network<AudioDecoder> {
public:
    AudioDecoderNetwork(TensorTable table, const AudioVaeConfig & config, std::shared_ptr<Backend> backend);

    // What decoding so many latent frames takes, without loading weights.
    NetworkMemory measure(int64_t frames);

    // latent: normalised (latent_channels, L, latent_bins) -> log-mel (out_channels, steps, mel_bins).
    // `probes` receives what options.probes names. Throws ShapeError, ArgumentError.
    HostTensor decode(const HostView & latent, const AudioRunOptions & options,
                      std::map<std::string, HostTensor> & probes);

private:
    void draft(Graph & graph) override;
    void build(Graph & graph, int64_t frames) const;
    std::vector<float> denormalised(const HostView & latent) const;
};

class AudioEncoderNetwork : public Network<AudioEncoder> {
public:
    AudioEncoderNetwork(TensorTable table, const AudioVaeConfig & config, std::shared_ptr<Backend> backend);

    // What encoding so many mel steps takes, without loading weights.
    NetworkMemory measure(int64_t steps);

    // mel: natural logarithms (in_channels, steps, mel_bins) -> normalised latent (latent_channels, L, latent_bins).
    // Chunks are counted in latent frames. Otherwise as AudioDecoderNetwork::decode.
    HostTensor encode(const HostView & mel, const AudioRunOptions & options,
                      std::map<std::string, HostTensor> & probes);

private:
    void draft(Graph & graph) override;
    void build(Graph & graph, int64_t steps) const;
};

}  // namespace ltx
