#version 450
#extension GL_GOOGLE_include_directive : require

#define VALUES uint width, x_step, scale_step, shift_step, has_rows, table_rows; float eps;
#include "op.glsl"

layout(constant_id = 0) const uint norm = 0;  // NormKind
layout(constant_id = 1) const bool is_rounded = false;

layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) readonly buffer Scale { float scale[]; };
layout(binding = 2) readonly buffer Shift { float shift[]; };
layout(binding = 3) readonly buffer Rows { int rows[]; };
layout(binding = 4) writeonly buffer Result { float result[]; };
layout(binding = 4) writeonly buffer Rounded { uint16_t rounded[]; };

void write(uint i, float y) {
    if (is_rounded) {
        rounded[a.at[4] + i] = uint16_t(to_bf16(y));
    } else {
        result[a.at[4] + i] = y;
    }
}

void main() {
    const uint token = row_of_group();
    if (token >= a.rows) {
        return;
    }
    const uint from = a.at[0] + token * a.x_step;
    const int row = a.has_rows != 0 ? rows[a.at[3] + token] : 0;
    const bool is_known = row >= 0 && row < int(a.table_rows);
    float centre = 0.0;
    float factor = 1.0;
    if (norm == 2) {
        float sum = 0.0;
        for (uint i = thread_of_row(); i < a.width; i += THREADS) {
            sum += x[from + i];
        }
        centre = sum_of_row(sum) / float(a.width);
    }
    if (norm != 0) {
        float squares = 0.0;
        for (uint i = thread_of_row(); i < a.width; i += THREADS) {
            const float d = x[from + i] - centre;
            squares += d * d;
        }
        factor = 1.0 / sqrt(sum_of_row(squares) / float(a.width) + a.eps);
    }
    const uint scales = a.at[1] + (is_known ? uint(row) : 0) * a.scale_step;
    const uint shifts = a.at[2] + (is_known ? uint(row) : 0) * a.shift_step;
    for (uint i = thread_of_row(); i < a.width; i += THREADS) {
        const float y = (x[from + i] - centre) * factor * (1.0 + scale[scales + i]) + shift[shifts + i];
        write(token * a.width + i, is_known ? y : NOT_A_NUMBER);
    }
}
