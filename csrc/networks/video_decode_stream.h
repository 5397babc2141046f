// Frames of one clip, decoded as they are asked for, in memory that does not grow with the clip.
#pragma once

#include <optional>

#include "models/video_vae/decoder.h"
#include "networks/network.h"
#include "networks/tiling.h"
#include "runtime/state.h"

namespace ltx {

// Only tiles change numbers: they blend pictures that do not know their surroundings.
struct VideoDecodeOptions {
    int64_t chunk_latents = 0;  // latent frames per run; 0 chooses by the picture's size
    // Tiles along the longer side, in latents; 0: no tiles. Nothing: tiles of the official size when the picture is
    // larger than any this project decodes whole (4 million pixels).
    std::optional<int64_t> tile_latents;
    ProbeSet probes;
    bool composed = false;  // stock operations instead of our own
};

class VideoDecodeStream {
public:
    // latent: normalised, (latent_channels, F, h, w). Keeps the decoder alive; one stream does not disturb another.
    // Throws ShapeError, ArgumentError.
    VideoDecodeStream(std::shared_ptr<Network<VideoDecoder>> decoder, const HostView & latent,
                      VideoDecodeOptions options);

    // What the frames of a latent of this shape take, without loading weights. Throws as the constructor does.
    static NetworkMemory measure(std::shared_ptr<Network<VideoDecoder>> decoder, const Shape & latent,
                                 VideoDecodeOptions options);

    // The next frames (n, height, width, 3), n >= 1; nothing at the end.
    std::optional<HostTensor> next();

    int64_t num_frames() const { return num_frames_; }
    // The largest activation buffer of a run so far.
    size_t activation_bytes() const { return activation_bytes_; }
    size_t state_bytes() const;

    // What the probes have shown so far, (frames, height, width, channels) each.
    const std::map<std::string, HostTensor> & probes() const { return probes_; }

private:
    // A part of the picture with the state of its layers. All tiles take the same steps in time.
    struct Tile {
        Tile(AxisTile y, AxisTile x, const std::shared_ptr<Backend> & backend, bool measuring);

        AxisTile rows, columns;
        StateStore states;
        FrameStream stream;
    };

    VideoDecodeStream(std::shared_ptr<Network<VideoDecoder>> decoder, const Shape & latent, VideoDecodeOptions options,
                      bool measuring);

    void check(const Shape & shape) const;
    void make_tiles(bool measuring);
    std::string key(size_t index, int64_t count, bool ended) const;
    RunOptions run_options() const;
    void build(Graph & graph, Tile & tile, int64_t count, bool ended);
    NetworkMemory measure();
    bool run(size_t index, int64_t first, int64_t count, bool ended);
    std::vector<float> crop(const Tile & tile, int64_t first, int64_t count) const;
    void blend(const Tile & tile, const HostTensor & frames, HostTensor & picture) const;

    std::shared_ptr<Network<VideoDecoder>> decoder_;
    VideoDecodeOptions options_;
    SpaceTimeFactor pixels_;  // per latent
    int64_t latents_, height_, width_, num_frames_;
    std::vector<float> latent_;  // (F, h, w, latent_channels)
    Runner runner_;
    std::vector<std::unique_ptr<Tile>> tiles_;
    int64_t done_ = 0;
    size_t activation_bytes_ = 0;
    bool ended_ = false;
    FrameChunk result_;
    std::map<std::string, HostTensor> probes_;
};

}  // namespace ltx
