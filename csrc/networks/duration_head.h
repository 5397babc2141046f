// The contexts of a prompt to the length of its clip.
#pragma once

#include "models/duration_head/duration_head.h"
#include "networks/network.h"

namespace ltx {

class DurationHeadNetwork : public Network<DurationHead> {
public:
    DurationHeadNetwork(TensorTable table, const DurationHeadConfig & config, std::shared_ptr<Backend> backend);

    // What `log_seconds` takes for contexts of so many rows each, without loading weights.
    NetworkMemory measure(int64_t rows);

    // The natural logarithm of the seconds. video: (rows, video_width); audio: (rows, audio_width); a context without
    // rows is left out, but not both. Throws ShapeError.
    float log_seconds(const HostView & video, const HostView & audio);

private:
    void draft(Graph & graph) override;
    void build(Graph & graph, int64_t video_rows, int64_t audio_rows) const;
};

}  // namespace ltx
