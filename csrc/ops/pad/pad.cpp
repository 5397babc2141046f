#include "ops/pad/pad.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/simd.h"
#include "graph/custom_node.h"
#include "ops/pixel_norm/pixel_norm.h"

namespace ltx {

namespace {

struct Params {
    int32_t front, back;
    SpatialPad spatial;
    TemporalPad temporal;
    int32_t norm_silu, earlier_is_padded;
    float eps;
};

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
        case GGML_TYPE_F32: std::memcpy(y, x, static_cast<size_t>(count) * sizeof(float)); return;
        case GGML_TYPE_F16: to_f16(x, reinterpret_cast<uint16_t *>(y), count); return;
        default: to_bf16(x, reinterpret_cast<uint16_t *>(y), count); return;
    }
}

// One row of `channels` values; `scratch` holds as many.
void write_row(const Params & params, ggml_type type, const float * x, char * y, int64_t channels, float * scratch) {
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

void kernel(ggml_tensor * dst, int ith, int nth, void *) {
    const auto params = custom_params<Params>(dst);
    const FramePieces pieces{dst->src[0], dst->src[1]};
    const int64_t channels = dst->ne[0];
    const int64_t width = dst->ne[1] - 2;
    const int64_t height = dst->ne[2] - 2;
    const int64_t split = frame_count(pieces.earlier);
    const int64_t frames = frame_count(pieces);
    const auto row_bytes = static_cast<int64_t>(dst->nb[1]);
    std::vector<float> scratch(static_cast<size_t>(channels));
    const int64_t lines = dst->ne[2] * dst->ne[3];
    for (int64_t line = lines * ith / nth; line < lines * (ith + 1) / nth; ++line) {
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
                      to + (x + 1) * row_bytes, channels, scratch.data());
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

// [C, W, H, T] -> [C, W + 2, H + 2, T]
ggml_tensor * pad_picture(ggml_context * ctx, ggml_tensor * x, SpatialPad mode) {
    if (mode == SpatialPad::Zeros) {
        return ggml_pad_ext(ctx, x, 0, 0, 1, 1, 1, 1, 0, 0);
    }
    const auto column = [&](int64_t i) {
        return ggml_view_4d(ctx, x, x->ne[0], 1, x->ne[2], x->ne[3], x->nb[1], x->nb[2], x->nb[3], i * x->nb[1]);
    };
    x = ggml_concat(ctx, ggml_concat(ctx, column(1), x, 1), column(x->ne[1] - 2), 1);
    const auto row = [&](int64_t i) {
        return ggml_view_4d(ctx, x, x->ne[0], x->ne[1], 1, x->ne[3], x->nb[1], x->nb[2], x->nb[3], i * x->nb[2]);
    };
    return ggml_concat(ctx, ggml_concat(ctx, row(1), x, 2), row(x->ne[2] - 2), 2);
}

// The definition of the result, from stock operations.
ggml_tensor * pad_frames_composed(Graph & graph, const FramePieces & pieces, const PadOptions & options) {
    ggml_context * ctx = graph.ctx();
    const FramePieces raw{options.earlier_is_padded ? nullptr : pieces.earlier, pieces.frames};
    ggml_tensor * x = join_frames(graph, raw);  // ne: [C, W, H, frames]
    if (x) {
        x = options.norm_silu ? pixel_norm_silu(graph, x, options.eps) : x;
        x = pad_picture(ctx, ggml_is_contiguous(x) ? x : ggml_cont(ctx, x), options.spatial);
        x = options.type == GGML_TYPE_F32 ? x : ggml_cast(ctx, x, options.type);
    }
    if (options.earlier_is_padded) {
        x = join_frames(graph, {pieces.earlier, x});
    }
    ggml_tensor * first = slice_frames(graph, x, 0, 1);
    ggml_tensor * last = slice_frames(graph, x, x->ne[3] - 1, 1);
    if (options.temporal == TemporalPad::Zeros) {
        first = last = ggml_cast(ctx, ggml_scale(ctx, ggml_cast(ctx, first, GGML_TYPE_F32), 0.0f), options.type);
    }
    for (int32_t i = 0; i < options.front; ++i) {
        x = ggml_concat(ctx, first, x, 3);
    }
    for (int32_t i = 0; i < options.back; ++i) {
        x = ggml_concat(ctx, x, last, 3);
    }
    return x;  // ne: [C, W + 2, H + 2, front + frames + back]
}

}  // namespace

ggml_tensor * pad_frames(Graph & graph, const FramePieces & pieces, const PadOptions & options) {
    if (graph.form() == OpForm::Composed) {
        return pad_frames_composed(graph, pieces, options);
    }
    const ggml_tensor * any = pieces.frames ? pieces.frames : pieces.earlier;
    const int64_t border = any == pieces.frames || !options.earlier_is_padded ? 2 : 0;
    const Params params{options.front, options.back, options.spatial, options.temporal, options.norm_silu,
                        options.earlier_is_padded, options.eps};
    return custom_node(graph.ctx(), options.type,
                       {any->ne[0], any->ne[1] + border, any->ne[2] + border,
                        options.front + frame_count(pieces) + options.back},
                       {pieces.earlier, pieces.frames}, kernel, params);
}

}  // namespace ltx
