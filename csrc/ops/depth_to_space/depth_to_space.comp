#version 450
#extension GL_GOOGLE_include_directive : require

#define VALUES                                     \
    uint in_width, in_height;                      \
    uint x_step, y_step, frame_step;               \
    uint out_width, out_height, channels;          \
    uint f_time, f_height, f_width;                \
    int drop_first, split;                         \
    uint period;                                   \
    uint earlier_x, earlier_y, earlier_frame;      \
    uint later_x, later_y, later_frame;
#include "op.glsl"

layout(constant_id = 0) const bool height_fastest = false;  // Packing
layout(constant_id = 1) const bool has_shortcut = false;

layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) readonly buffer Earlier { float earlier[]; };
layout(binding = 2) readonly buffer Later { float later[]; };
layout(binding = 3) writeonly buffer Result { float result[]; };

// A cell's channels pass through here some at a time, so that both sides are accessed in order.
const uint STAGE = 2048;
shared float stage[STAGE];

void main() {
    const uint cell = row_of_group();
    if (cell >= a.rows) {
        return;
    }
    const uint column = cell % a.in_width;
    const uint line = cell / a.in_width % a.in_height;
    const int frame = int(cell / (a.in_width * a.in_height));
    const uint from = a.at[0] + column * a.x_step + line * a.y_step + uint(frame) * a.frame_step;
    const uint in_plane = a.f_height * a.f_width;
    const uint offsets = a.f_time * in_plane;  // channels that become neighbours
    const bool is_earlier = frame < a.split;
    const uint added = is_earlier
        ? a.at[1] + column * a.earlier_x + line * a.earlier_y + uint(frame) * a.earlier_frame
        : a.at[2] + column * a.later_x + line * a.later_y + uint(frame - a.split) * a.later_frame;
    const uint staged = STAGE / offsets;  // channels of the result
    for (uint first = 0; first < a.channels; first += staged) {
        const uint count = min(staged, a.channels - first);
        for (uint i = thread_of_row(); i < count * offsets; i += THREADS) {
            stage[i] = x[from + first * offsets + i];
        }
        barrier();
        for (uint i = thread_of_row(); i < count * offsets; i += THREADS) {
            const uint offset = i / count;
            const uint c = i % count;
            const uint within = offset % in_plane;
            const uint down = height_fastest ? within % a.f_height : within / a.f_width;
            const uint across = height_fastest ? within / a.f_height : within % a.f_width;
            const int to_frame = frame * int(a.f_time) + int(offset / in_plane) - a.drop_first;
            if (to_frame >= 0) {
                float value = stage[c * offsets + offset];
                if (has_shortcut) {
                    const uint at = added + (first + c) % a.period * offsets + offset;
                    value += is_earlier ? earlier[at] : later[at];
                }
                const uint to = (uint(to_frame) * a.out_height + line * a.f_height + down) * a.out_width +
                                column * a.f_width + across;
                result[a.at[3] + to * a.channels + first + c] = value;
            }
        }
        barrier();
    }
}
