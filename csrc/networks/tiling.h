// Cuts a picture into overlapping tiles whose decoded pixels are blended. Source: ltx-core, video_vae/tiling.py;
// section numbers of the geometry: tiles and overlaps count latents, ramps count pixels.
#pragma once

#include <cstdint>
#include <vector>

namespace ltx {

// One tile along one axis.
struct AxisTile {
    int64_t start;  // latents
    int64_t count;
    std::vector<float> weights;  // per pixel; over all tiles those of a pixel sum to 1
};

// `size` > `overlap`; one tile without ramps when size covers the axis. `scale` pixels per latent.
std::vector<AxisTile> split_axis(int64_t latents, int64_t size, int64_t overlap, int64_t scale);

// The tile along an axis of `latents` when the longer axis, of `longest`, is cut into tiles of `size`.
int64_t tile_size(int64_t latents, int64_t longest, int64_t size, int64_t overlap);

}  // namespace ltx
