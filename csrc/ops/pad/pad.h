// The buffer a 3x3 convolution reads: one more row and column on each side, repeated or zero frames before and after,
// in the kernel's type.
#pragma once

#include "ops/pad/frame_pieces.h"

namespace ltx {

enum class SpatialPad : int32_t {
    Zeros,
    Reflect,  // mirrored without repeating the edge; needs at least two rows and columns
};

enum class TemporalPad : int32_t {
    Repeat,  // the first and the last frame
    Zeros,
};

struct PadOptions {
    ggml_type type;        // F32, F16 or BF16
    int64_t channels = 0;  // of the result, those past C are zero; 0: C
    int32_t front = 0;     // frames added before
    int32_t back = 0;      // and after
    SpatialPad spatial = SpatialPad::Zeros;
    TemporalPad temporal = TemporalPad::Repeat;
    bool norm_silu = false;  // pixel norm and SiLU first
    bool earlier_is_padded =
        false;  // pieces.earlier comes out of an earlier buffer: `type` [channels, W + 2, H + 2, frames]
    float eps = 0;
};

// pieces: F32 [C, W, H, frames], rows of C contiguous. -> [channels, W + 2, H + 2, front + frames + back]
ggml_tensor * pad_frames(Graph & graph, const FramePieces & pieces, const PadOptions & options);

struct PadConstants {
    int32_t front, back;
    SpatialPad spatial;
    TemporalPad temporal;
    int32_t norm_silu, earlier_is_padded;
    PieceSet pieces;
    float eps;
};

// Sources: the pieces.
void pad_frames_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
