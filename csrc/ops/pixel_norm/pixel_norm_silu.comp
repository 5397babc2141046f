#version 450
#extension GL_GOOGLE_include_directive : require

#define VALUES uint channels, width, height, x_step, y_step, frame_step; float eps;
#include "op.glsl"

layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) writeonly buffer Result { float result[]; };

void main() {
    const uint position = row_of_group();
    if (position >= a.rows) {
        return;
    }
    const uint from = a.at[0] + position % a.width * a.x_step + position / a.width % a.height * a.y_step +
                      position / (a.width * a.height) * a.frame_step;
    float squares = 0.0;
    for (uint c = thread_of_row(); c < a.channels; c += THREADS) {
        squares += x[from + c] * x[from + c];
    }
    const float factor = 1.0 / sqrt(sum_of_row(squares) / float(a.channels) + a.eps);
    for (uint c = thread_of_row(); c < a.channels; c += THREADS) {
        result[a.at[1] + position * a.channels + c] = silu(x[from + c] * factor);
    }
}
