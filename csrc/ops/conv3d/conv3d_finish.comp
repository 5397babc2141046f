#version 450
#extension GL_GOOGLE_include_directive : require

#define VALUES                                         \
    uint channels, width, height;                      \
    uint padded_width, padded_height;                  \
    int split;                                         \
    uint earlier_x, earlier_y, earlier_frame;          \
    uint later_x, later_y, later_frame;
#include "op.glsl"

layout(constant_id = 0) const bool has_residual = false;

layout(binding = 0) readonly buffer Sums { float sums[]; };
layout(binding = 1) readonly buffer Bias { float bias[]; };
layout(binding = 2) readonly buffer Earlier { float earlier[]; };
layout(binding = 3) readonly buffer Later { float later[]; };
layout(binding = 4) writeonly buffer Result { float result[]; };

void main() {
    const uint position = row_of_group();
    if (position >= a.rows) {
        return;
    }
    const uint column = position % a.width;
    const uint line = position / a.width % a.height;
    const int frame = int(position / (a.width * a.height));
    const uint from =
        a.at[0] + ((uint(frame) * a.padded_height + line) * a.padded_width + column) * a.channels;
    const bool is_earlier = frame < a.split;
    const uint added = is_earlier
        ? a.at[2] + column * a.earlier_x + line * a.earlier_y + uint(frame) * a.earlier_frame
        : a.at[3] + column * a.later_x + line * a.later_y + uint(frame - a.split) * a.later_frame;
    for (uint c = thread_of_row(); c < a.channels; c += THREADS) {
        float value = sums[from + c] + bias[a.at[1] + c];
        if (has_residual) {
            value = (is_earlier ? earlier[added + c] : later[added + c]) + value;
        }
        result[a.at[4] + position * a.channels + c] = value;
    }
}
