// Frames as CUDA kernels read them.
#pragma once

#include "kernels/cuda/kernel.cuh"
#include "ops/pad/frame_pieces.h"

namespace ltx::cuda {

// Channels-last frames whose positions may lie apart; `first` is null where there are none.
struct Frames {
    const char * first;
    int64_t nb1, nb2, nb3;  // bytes

    // The channels of one position; null where there are no frames.
    template <typename T>
    __device__ const T * at(int64_t x, int64_t y, int64_t t) const {
        return reinterpret_cast<const T *>(first ? first + x * nb1 + y * nb2 + t * nb3 : nullptr);
    }
};

inline Frames frames_of(const ggml_tensor * tensor) {
    return tensor ? Frames{data_of<const char>(tensor), static_cast<int64_t>(tensor->nb[1]),
                           static_cast<int64_t>(tensor->nb[2]), static_cast<int64_t>(tensor->nb[3])}
                  : Frames{};
}

// Those of FramePieces, numbered through.
struct SplitFrames {
    Frames earlier, frames;
    int64_t split;  // frames that lie in `earlier`

    template <typename T>
    __device__ const T * at(int64_t x, int64_t y, int64_t t) const {
        return t < split ? earlier.at<T>(x, y, t) : frames.at<T>(x, y, t - split);
    }
};

inline SplitFrames frames_of(const FramePieces & pieces) {
    return {frames_of(pieces.earlier), frames_of(pieces.frames), frame_count(pieces.earlier)};
}

}  // namespace ltx::cuda
