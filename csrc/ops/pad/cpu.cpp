#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "kernels/simd.h"
#include "ops/pad/pad.h"
#include "ops/pixel_norm/pixel_norm.h"

namespace ltx {

namespace {

// Round to nearest even; a NaN stays a quiet NaN.
LTX_TARGET_CLONES
void to_bf16(const float * x, uint16_t * y, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        const uint32_t bits = std::bit_cast<uint32_t>(x[i]);
        const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
        const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
        y[i] = static_cast<uint16_t>(is_nan ? (bits >> 16) | 0x40u : rounded);
    }
}

// The same for binary16. Below its smallest normal number the float unit rounds: adding 0.5 leaves the wanted digits at
// the low end of the fraction.
LTX_TARGET_CLONES
void to_f16(const float * x, uint16_t * y, int64_t count) {
    constexpr uint32_t kRebias = 112u << 23;
    for (int64_t i = 0; i < count; ++i) {
        const uint32_t bits = std::bit_cast<uint32_t>(x[i]);
        const uint32_t magnitude = bits & 0x7fffffffu;
        const uint32_t normal = (magnitude - kRebias + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
        const uint32_t small = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
        const uint32_t large = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
        const uint32_t half = magnitude < (113u << 23) ? small : (magnitude >= (143u << 23) ? large : normal);
        y[i] = static_cast<uint16_t>(half | ((bits >> 16) & 0x8000u));
    }
}

void store(ggml_type type, const float * x, char * y, int64_t count) {
    switch (type) {
        case GGML_TYPE_F32:
            std::memcpy(y, x, static_cast<size_t>(count) * sizeof(float));
            return;
        case GGML_TYPE_F16:
            to_f16(x, reinterpret_cast<uint16_t *>(y), count);
            return;
        default:
            to_bf16(x, reinterpret_cast<uint16_t *>(y), count);
            return;
    }
}

// One row of `channels` values, zeros up to `row_bytes`; `scratch` holds as many values.
void write_row(const PadConstants & params, ggml_type type, const float * x, char * y, int64_t channels,
               int64_t row_bytes, float * scratch) {
    const int64_t size = channels * static_cast<int64_t>(ggml_type_size(type));
    std::memset(y + size, 0, static_cast<size_t>(row_bytes - size));
    if (!params.norm_silu) {
        store(type, x, y, channels);
    } else if (type == GGML_TYPE_F32) {
        pixel_norm_silu_row(x, reinterpret_cast<float *>(y), channels, params.eps);
    } else {
        pixel_norm_silu_row(x, scratch, channels, params.eps);
        store(type, scratch, y, channels);
    }
}

const char * line_of(const ggml_tensor * frames, int64_t row, int64_t frame) {
    return static_cast<const char *>(frames->data) + row * frames->nb[2] + frame * frames->nb[3];
}

}  // namespace

void pad_frames_cpu(ggml_tensor * dst, int thread, int num_threads, void * /*unused*/) {
    const auto params = constants_of<PadConstants>(dst);
    const FramePieces pieces = pieces_of(dst, 0, params.pieces);
    const int64_t width = dst->ne[1] - 2;
    const int64_t height = dst->ne[2] - 2;
    const int64_t split = frame_count(pieces.earlier);
    const int64_t frames = frame_count(pieces);
    const auto row_bytes = static_cast<int64_t>(dst->nb[1]);
    std::vector<float> scratch(static_cast<size_t>(dst->ne[0]));
    const auto [begin, end] = rows_of_thread(dst->ne[2] * dst->ne[3], thread, num_threads);
    for (int64_t line = begin; line < end; ++line) {
        char * to = static_cast<char *>(dst->data) + line * static_cast<int64_t>(dst->nb[2]);
        const int64_t frame = line / dst->ne[2] - params.front;
        int64_t row = line % dst->ne[2] - 1;
        const bool added_frame = frame < 0 || frame >= frames;
        const bool added_row = row < 0 || row >= height;
        if ((added_frame && params.temporal == TemporalPad::Zeros) ||
            (added_row && params.spatial == SpatialPad::Zeros)) {
            std::memset(to, 0, dst->nb[2]);
            continue;
        }
        const int64_t source = std::clamp<int64_t>(frame, 0, frames - 1);
        if (source < split && params.earlier_is_padded) {
            std::memcpy(to, line_of(pieces.earlier, line % dst->ne[2], source), dst->nb[2]);
            continue;
        }
        row = row < 0 ? 1 : (row >= height ? height - 2 : row);
        const ggml_tensor * piece = source < split ? pieces.earlier : pieces.frames;
        const char * from = line_of(piece, row, source < split ? source : source - split);
        for (int64_t x = 0; x < width; ++x) {
            write_row(params, dst->type, reinterpret_cast<const float *>(from + x * piece->nb[1]),
                      to + (x + 1) * row_bytes, piece->ne[0], row_bytes, scratch.data());
        }
        if (params.spatial == SpatialPad::Zeros) {
            std::memset(to, 0, row_bytes);
            std::memset(to + (width + 1) * row_bytes, 0, row_bytes);
        } else {
            std::memcpy(to, to + 2 * row_bytes, row_bytes);
            std::memcpy(to + (width + 1) * row_bytes, to + (width - 1) * row_bytes, row_bytes);
        }
    }
}

}  // namespace ltx
