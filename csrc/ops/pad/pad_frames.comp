#version 450
#extension GL_GOOGLE_include_directive : require

#define VALUES                                          \
    uint width, height, channels, source_channels;      \
    int frames, split, front;                           \
    uint earlier_x, earlier_y, earlier_frame;           \
    uint later_x, later_y, later_frame;                 \
    float eps;
#include "op.glsl"

layout(constant_id = 0) const bool is_rounded = false;
layout(constant_id = 1) const bool reflects = false;           // SpatialPad
layout(constant_id = 2) const bool adds_zero_frames = false;   // TemporalPad
layout(constant_id = 3) const bool norm_silu = false;
layout(constant_id = 4) const bool earlier_is_padded = false;

layout(binding = 0) readonly buffer Earlier { float earlier[]; };
layout(binding = 0) readonly buffer EarlierRounded { uint16_t earlier_rounded[]; };
layout(binding = 1) readonly buffer Later { float later[]; };
layout(binding = 2) writeonly buffer Result { float result[]; };
layout(binding = 2) writeonly buffer Rounded { uint16_t rounded[]; };

void write(uint i, float y) {
    if (is_rounded) {
        rounded[a.at[2] + i] = uint16_t(to_bf16(y));
    } else {
        result[a.at[2] + i] = y;
    }
}

void main() {
    const uint position = row_of_group();
    if (position >= a.rows) {
        return;
    }
    const uint column = position % a.width;
    const uint line = position / a.width % a.height;
    const int frame = int(position / (a.width * a.height)) - a.front;
    const uint to = position * a.channels;

    const bool is_added_frame = frame < 0 || frame >= a.frames;
    const bool is_border = column == 0 || column == a.width - 1 || line == 0 || line == a.height - 1;
    const bool is_zero = (is_added_frame && adds_zero_frames) || (is_border && !reflects);
    const int source = clamp(frame, 0, a.frames - 1);
    const bool is_earlier = source < a.split;
    if (is_earlier && earlier_is_padded && !is_zero) {
        const uint from =
            a.at[0] + column * a.earlier_x + line * a.earlier_y + uint(source) * a.earlier_frame;
        for (uint c = thread_of_row(); c < a.channels; c += THREADS) {
            if (is_rounded) {
                rounded[a.at[2] + to + c] = earlier_rounded[from + c];
            } else {
                result[a.at[2] + to + c] = earlier[from + c];
            }
        }
        return;
    }
    // Mirrored without repeating the edge.
    const uint x = column == 0 ? 1 : (column == a.width - 1 ? a.width - 4 : column - 1);
    const uint y = line == 0 ? 1 : (line == a.height - 1 ? a.height - 4 : line - 1);
    const uint from = is_earlier
        ? a.at[0] + x * a.earlier_x + y * a.earlier_y + uint(source) * a.earlier_frame
        : a.at[1] + x * a.later_x + y * a.later_y + uint(source - a.split) * a.later_frame;
    float factor = 1.0;
    if (norm_silu && !is_zero) {
        float squares = 0.0;
        for (uint c = thread_of_row(); c < a.source_channels; c += THREADS) {
            const float value = is_earlier ? earlier[from + c] : later[from + c];
            squares += value * value;
        }
        factor = 1.0 / sqrt(sum_of_row(squares) / float(a.source_channels) + a.eps);
    }
    for (uint c = thread_of_row(); c < a.channels; c += THREADS) {
        float value = 0.0;
        if (c < a.source_channels && !is_zero) {
            value = is_earlier ? earlier[from + c] : later[from + c];
        }
        write(to + c, norm_silu ? silu(value * factor) : value);
    }
}
