// Moves channels into neighbouring positions of time, height and width, and back, in both packings of the video VAE.
#pragma once

#include "ops/pad/frame_pieces.h"

namespace ltx {

struct SpaceTimeFactor {
    int32_t time = 1;
    int32_t height = 1;
    int32_t width = 1;

    int64_t product() const { return int64_t{time} * height * width; }
};

// How the offsets (a, b, d) in time, height and width are numbered within a group of channels.
enum class Packing : int32_t {
    WidthFastest,   // ((c * time + a) * height + b) * width + d: the samplers
    HeightFastest,  // ((c * time + a) * width + d) * height + b: patchify, the other way round within a cell
};

// x: F32 [C * p, W, H, T] with p = factor.product() -> F32 [C, W * width, H * height, T * time - drop_first].
// shortcut: F32 [S * p, W, H, T] shuffled the same way, its S channels repeated as a block until they are C, and added.
ggml_tensor * depth_to_space(Graph & graph, ggml_tensor * x, SpaceTimeFactor factor, Packing packing,
                             bool drop_first = false, const FramePieces & shortcut = {});

// x: F32 [C, W, H, T] -> F32 [C * p, W / width, H / height, T / time].
// shortcut: F32 [S, W, H, T - lead] shuffled the same way behind `lead` copies of its first frame, the mean of every
// S / C consecutive channels added; or null.
ggml_tensor * space_to_depth(Graph & graph, ggml_tensor * x, SpaceTimeFactor factor, Packing packing,
                             ggml_tensor * shortcut = nullptr, int32_t lead = 0);

struct DepthToSpaceConstants {
    SpaceTimeFactor factor;
    Packing packing;
    int32_t drop_first;
    PieceSet shortcut;
};

// Sources: x, the shortcut's pieces.
void depth_to_space_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

struct SpaceToDepthConstants {
    SpaceTimeFactor factor;
    Packing packing;
    int32_t lead;
};

// Sources: x, then the shortcut if there is one.
void space_to_depth_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
