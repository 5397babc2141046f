#version 450
#extension GL_GOOGLE_include_directive : require

#define VALUES uint width, half_head, x_step, cos_step, sin_step, table_rows, axes, rows_step; float eps;
#include "op.glsl"

layout(constant_id = 0) const bool rotates = false;
layout(constant_id = 1) const bool is_rounded = false;

layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) readonly buffer Weight { float weight[]; };
layout(binding = 2) readonly buffer Cos { float cosines[]; };
layout(binding = 3) readonly buffer Sin { float sines[]; };
layout(binding = 4) readonly buffer Rows { int rows[]; };
layout(binding = 5) writeonly buffer Result { float result[]; };
layout(binding = 5) writeonly buffer Rounded { uint16_t rounded[]; };

void write(uint i, float y) {
    if (is_rounded) {
        rounded[a.at[5] + i] = uint16_t(to_bf16(y));
    } else {
        result[a.at[5] + i] = y;
    }
}

// The row of the tables for a token along an axis; -1 for one that they do not have.
int table_row(uint token, uint axis) {
    const int row = rows[a.at[4] + axis * a.rows_step + token];
    return row < int(a.table_rows) ? row : -1;
}

void main() {
    const uint token = row_of_group();
    if (token >= a.rows) {
        return;
    }
    const uint from = a.at[0] + token * a.x_step;
    const uint to = token * a.width;
    float squares = 0.0;
    for (uint i = thread_of_row(); i < a.width; i += THREADS) {
        squares += x[from + i] * x[from + i];
    }
    const float factor = 1.0 / sqrt(sum_of_row(squares) / float(a.width) + a.eps);
    if (!rotates) {
        for (uint i = thread_of_row(); i < a.width; i += THREADS) {
            write(to + i, x[from + i] * factor * weight[a.at[1] + i]);
        }
        return;
    }
    // At most three axes (kMaxRopeAxes); without a list a token's row is its own.
    int of_axis[3] = {int(token), 0, 0};
    bool is_known = true;
    for (uint axis = 0; axis < a.axes; ++axis) {
        of_axis[axis] = table_row(token, axis);
        is_known = is_known && of_axis[axis] >= 0;
    }
    for (uint i = thread_of_row(); i < a.width / 2; i += THREADS) {
        const uint low_at = i / a.half_head * (2 * a.half_head) + i % a.half_head;
        const uint high_at = low_at + a.half_head;
        float c = NOT_A_NUMBER;
        float s = NOT_A_NUMBER;
        if (is_known) {
            c = cosines[a.at[2] + uint(of_axis[0]) * a.cos_step + i];
            s = sines[a.at[3] + uint(of_axis[0]) * a.sin_step + i];
            for (uint axis = 1; axis < a.axes; ++axis) {
                c += cosines[a.at[2] + uint(of_axis[axis]) * a.cos_step + i];
                s += sines[a.at[3] + uint(of_axis[axis]) * a.sin_step + i];
            }
        }
        const float low = x[from + low_at] * factor * weight[a.at[1] + low_at];
        const float high = x[from + high_at] * factor * weight[a.at[1] + high_at];
        write(to + low_at, low * c - high * s);
        write(to + high_at, high * c + low * s);
    }
}
