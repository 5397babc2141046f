// Audio latent to mel spectrum to wave, and mel spectrum to latent.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "models/audio_vae/decoder.h"
#include "models/audio_vae/encoder.h"
#include "models/vocoder/vocoder.h"
#include "networks/network.h"
#include "networks/network_memory.h"

namespace ltx {

// How an audio stage runs. Results do not depend on it but for the last bits.
struct AudioRunOptions {
    int64_t chunk_frames =
        0;                  // latent or mel frames per run, those around it for context not counted; 0: a fixed choice
    ProbeSet probes;        // channels-last: (T, F, C) in the VAE, (T, C) in the vocoder; needs a single run
    bool composed = false;  // stock operations instead of our own
};

// Calls from several threads run one after the other; a backend is not to be shared between such stages.
class AudioDecodeStage {
public:
    AudioDecodeStage(TensorTable table, const AudioVaeConfig & config, const std::shared_ptr<Backend> & backend);

    void load();
    uint64_t weight_bytes() const { return component_.weights().stored_bytes(); }
    std::vector<std::string> probe_names() const { return component_.model().probe_names(); }

    // What decoding so many latent frames takes, without loading weights.
    StageMemory measure(int64_t frames);

    // latent: normalised (latent_channels, L, latent_bins) -> log-mel (out_channels, steps, mel_bins).
    // `probes` receives what options.probes names. Throws ShapeError, ArgumentError.
    HostTensor decode(const HostView & latent, const AudioRunOptions & options,
                      std::map<std::string, HostTensor> & probes);

    // Working memory of the last run.
    size_t activation_bytes() { return component_.runner().activation_bytes(); }

private:
    void build(Graph & graph, int64_t frames) const;

    Component<AudioDecoder> component_;
    std::mutex mutex_;
};

class AudioEncodeStage {
public:
    AudioEncodeStage(TensorTable table, const AudioVaeConfig & config, const std::shared_ptr<Backend> & backend);

    void load();
    uint64_t weight_bytes() const { return component_.weights().stored_bytes(); }
    std::vector<std::string> probe_names() const { return component_.model().probe_names(); }

    // What encoding so many mel steps takes, without loading weights.
    StageMemory measure(int64_t steps);

    // mel: natural logarithms (in_channels, steps, mel_bins) -> normalised latent (latent_channels, L, latent_bins).
    // Chunks are counted in latent frames.
    HostTensor encode(const HostView & mel, const AudioRunOptions & options,
                      std::map<std::string, HostTensor> & probes);

    // Working memory of the last run.
    size_t activation_bytes() { return component_.runner().activation_bytes(); }

private:
    void build(Graph & graph, int64_t steps) const;

    Component<AudioEncoder> component_;
    std::mutex mutex_;
};

class VocodeStage {
public:
    VocodeStage(TensorTable table, const VocoderConfig & config, const std::shared_ptr<Backend> & backend);

    void load();
    uint64_t weight_bytes() const { return component_.weights().stored_bytes(); }
    std::vector<std::string> probe_names() const { return component_.model().probe_names(); }

    // What so many mel steps take, without loading weights.
    StageMemory measure(int64_t steps);

    // mel: (channels, steps, bins) -> wave (channels, steps * samples per step), -1..1. Long sounds run in chunks with
    // enough of their neighbours to give what a single run gives; memory does not grow with the length.
    HostTensor vocode(const HostView & mel, const AudioRunOptions & options,
                      std::map<std::string, HostTensor> & probes);

    int64_t reach_frames() const { return component_.model().reach_frames(); }
    size_t activation_bytes() { return component_.runner().activation_bytes(); }

private:
    void build(Graph & graph, int64_t steps) const;
    void run(const HostView & mel, int64_t first, int64_t count, const AudioRunOptions & options);

    Component<Vocoder> component_;
    std::mutex mutex_;
};

}  // namespace ltx
