// Where the neighbours of a cell lie; shared by both directions.
#pragma once

#include "ops/depth_to_space/depth_to_space.h"

namespace ltx {

struct CellOffset {
    int64_t time, height, width;
};

// The neighbour that channel offset `index` stands for.
inline CellOffset cell_offset(SpaceTimeFactor factor, Packing packing, int64_t index) {
    const int64_t in_plane = index % (factor.height * factor.width);
    const int64_t time = index / (factor.height * factor.width);
    return packing == Packing::WidthFastest ? CellOffset{time, in_plane / factor.width, in_plane % factor.width}
                                            : CellOffset{time, in_plane % factor.height, in_plane / factor.height};
}

// The channels at one position.
inline const float * channels_at(const ggml_tensor * t, int64_t x, int64_t y, int64_t frame) {
    return reinterpret_cast<const float *>(static_cast<const char *>(t->data) + x * t->nb[1] + y * t->nb[2] +
                                           frame * t->nb[3]);
}

}  // namespace ltx
