#version 450
#extension GL_GOOGLE_include_directive : require

#define VALUES                                     \
    uint x_step, y_step, frame_step;               \
    uint out_width, out_height, channels;          \
    uint f_time, f_height, f_width;                \
    uint group;                                    \
    int lead;                                      \
    uint added_x, added_y, added_frame;
#include "op.glsl"

layout(constant_id = 0) const bool height_fastest = false;  // Packing
layout(constant_id = 1) const bool has_shortcut = false;

layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) readonly buffer Shortcut { float shortcut[]; };
layout(binding = 2) writeonly buffer Result { float result[]; };

// Column, line and frame, within a cell, of the neighbour that a channel comes from.
uvec3 neighbour(uint channel) {
    const uint in_plane = a.f_height * a.f_width;
    const uint within = channel % in_plane;
    const uint frame = channel % (a.f_time * in_plane) / in_plane;
    return height_fastest ? uvec3(within / a.f_height, within % a.f_height, frame)
                          : uvec3(within % a.f_width, within / a.f_width, frame);
}

void main() {
    const uint position = row_of_group();
    if (position >= a.rows) {
        return;
    }
    const uvec3 cell = uvec3(position % a.out_width * a.f_width,
                             position / a.out_width % a.out_height * a.f_height,
                             position / (a.out_width * a.out_height) * a.f_time);
    const uint offsets = a.f_time * a.f_height * a.f_width;
    for (uint i = thread_of_row(); i < a.channels; i += THREADS) {
        const uvec3 from = cell + neighbour(i);
        float value =
            x[a.at[0] + from.x * a.x_step + from.y * a.y_step + from.z * a.frame_step + i / offsets];
        if (has_shortcut) {
            float sum = 0.0;
            for (uint k = i * a.group; k < (i + 1) * a.group; ++k) {
                const uvec3 added = cell + neighbour(k);
                sum += shortcut[a.at[1] + added.x * a.added_x + added.y * a.added_y +
                                uint(max(int(added.z) - a.lead, 0)) * a.added_frame + k / offsets];
            }
            value += sum / float(a.group);
        }
        result[a.at[2] + position * a.channels + i] = value;
    }
}
