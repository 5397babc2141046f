// What the layers of a network remember between the chunks of a clip, so that chunks give the numbers of the whole.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "ops/pad/frame_pieces.h"

namespace ltx {

// What a layer hands on within one run.
struct FrameChunk {
    ggml_tensor * frames = nullptr;  // [C, W, H, T], null when there are none
    bool ended = false;              // nothing follows
};

// Where one layer stands in its stream. All of it is known while a graph is built: tensors never steer the building.
struct StreamPosition {
    int32_t kept = 0;      // frames in the state tensor, at most kKeptFrames
    bool started = false;  // something was handed on
    bool closed = false;   // the end was handed on

    bool operator==(const StreamPosition &) const = default;
};

// A 3x3x3 kernel looks at two frames besides the new one.
inline constexpr int32_t kKeptFrames = 2;

// The positions change with the run a graph was built for: begin_run, build the graph (or reuse one built under an
// equal key), run it, end_run.
class FrameStream {
public:
    // Makes the persistent tensor of a layer (type, ne), or gives it again.
    using MakeState =
        std::function<ggml_tensor *(const std::string & layer, ggml_type type, const std::array<int64_t, 4> & ne)>;
    // Gives the persistent tensor that was made for a layer.
    using GetState = std::function<ggml_tensor *(const std::string & layer)>;

    FrameStream(MakeState make, GetState get) : make_(std::move(make)), get_(std::move(get)) {}

    // Identifies all positions: graphs built at equal keys from equal chunks are equal.
    std::string key() const;

    void begin_build() { next_ = now_; }
    void end_run() { now_ = next_; }

    StreamPosition & position(const std::string & layer) { return next_[layer]; }

    // The kept frames of a layer in front of its new ones. ne: [C, W, H, kept], [C, W, H, T]
    FramePieces with_kept(Graph & graph, const std::string & layer, ggml_tensor * frames);

    // Keeps the last two frames of what with_kept gave. `readers` (null allowed) are the nodes that read the kept
    // frames of before; they are put in front of the write, because the state is one tensor.
    void keep(Graph & graph, const std::string & layer, ggml_tensor * frames,
              std::initializer_list<ggml_tensor *> readers);

private:
    MakeState make_;
    GetState get_;
    std::map<std::string, StreamPosition> now_;
    std::map<std::string, StreamPosition> next_;
};

}  // namespace ltx
