// Mel spectrum to wave.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/vocoder/vocoder.h"
#include "networks/audio_chunks.h"
#include "networks/network.h"

namespace ltx {

class VocoderNetwork : public Network<Vocoder> {
public:
    VocoderNetwork(TensorTable table, const VocoderConfig & config, std::shared_ptr<Backend> backend);

    // What so many mel steps take, without loading weights.
    NetworkMemory measure(int64_t steps);

    // mel: (channels, steps, bins) -> wave (channels, steps * samples per step), -1..1. Long sounds run in chunks with
    // enough of their neighbours to give what a single run gives; memory does not grow with the length.
    // `probes` receives what options.probes names. Throws ShapeError, ArgumentError.
    HostTensor vocode(const HostView & mel, const AudioRunOptions & options,
                      std::map<std::string, HostTensor> & probes);

    // Mel frames to either side on which the samples of a frame may depend.
    int64_t reach_frames() const { return model().reach_frames(); }

private:
    void draft(Graph & graph) override;
    ChunkRule chunk_rule() const;
    void build(Graph & graph, int64_t steps) const;
};

}  // namespace ltx
