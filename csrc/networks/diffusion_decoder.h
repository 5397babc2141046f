// Video latent and noise to frames, by the diffusion decoder.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/host_tensor.h"
#include "models/diffusion_decoder/diffusion_decoder.h"
#include "networks/network.h"

namespace ltx {

// Frames of a grid: those that are computed, and all that these look at.
struct FrameRange {
    int64_t first;  // computed, counted from `start`
    int64_t count;
    int64_t start;
    int64_t end;
    bool begins;  // the first frame of the grid is computed
};

class DiffusionDecoderNetwork : public Network<DiffusionDecoder> {
public:
    DiffusionDecoderNetwork(TensorTable table, const DiffusionDecoderConfig & config, std::shared_ptr<Backend> backend);

    // latent: normalised, (latent_channels, F, h, w), no smaller than the windows -> (T, H, W, channels), what the
    // fourth stage takes. At most `chunk_frames` of
    // a grid go through a layer at once; by default what keeps that small beside the result. Throws ShapeError,
    // ArgumentError.
    HostTensor features(const HostView & latent, std::optional<int64_t> chunk_frames = {});

    struct Tile {
        HostView features;  // (T, H, W, channels), a part of what features() gave
        HostView noise;     // (frames, height, width, 3); the frames to be made, from the tile's first on
        float timestep;     // noise level, 0..1
        bool begins_clip;   // the tile holds the clip's first frame
        EdgeRule edges;
    };

    // One evaluation over a tile -> (frames, height, width, 3). Throws ShapeError, ArgumentError.
    HostTensor frames(const Tile & tile);

    // What the two take for these shapes, without loading weights.
    NetworkMemory measure_features(const Shape & latent);
    NetworkMemory measure_frames(const Shape & features, const Shape & noise);

private:
    // A layer of the first three stages, which goes over the grid some frames at a time, so that only its input and its
    // result are there as a whole.
    struct Pass {
        std::string name;
        int64_t channels;     // of the input
        int64_t window;       // frames that a frame looks at
        int64_t frame_bytes;  // that a frame takes on the way
        SpaceTimeFactor stride{1, 1, 1};
        // input: [channels, W, H, T] -> `count` frames of the result from number `first` on, or what they become.
        std::function<ggml_tensor *(Graph & graph, ggml_tensor * input, const FrameRange & kept)> build;
    };

    void draft(Graph & graph) override;
    // The passes for a latent with cells of height x width.
    std::vector<Pass> passes(int64_t height, int64_t width) const;
    static void build_pass(Graph & graph, const Pass & pass, const Shape & grid, const FrameRange & range);
    HostTensor run_pass(const Pass & pass, const HostTensor & input, std::optional<int64_t> chunk_frames);
    void build_frames(Graph & graph, const Shape & features, const Shape & noise, bool begins_clip,
                      EdgeRule edges) const;
    void check_latent(const Shape & latent) const;
    void check_tile(const Shape & features, const Shape & noise, bool begins_clip) const;
};

}  // namespace ltx
