#version 450
#extension GL_GOOGLE_include_directive : require

#define VALUES uint width, x_step, has_bias;
#include "op.glsl"

layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) readonly buffer Bias { float bias[]; };
layout(binding = 2) writeonly buffer Result { float result[]; };

// 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u)), which keeps its relative precision for negative u.
float gelu(float y) {
    const float minus_two_sqrt_2_over_pi = -1.5957691216057308;
    const float cubic = 0.044715;
    return y / (1.0 + exact_exp(minus_two_sqrt_2_over_pi * (y + cubic * (y * y * y))));
}

void main() {
    const uint token = row_of_group();
    if (token >= a.rows) {
        return;
    }
    const uint xs = a.at[0] + token * a.x_step;
    const uint results = a.at[2] + token * a.width;
    for (uint i = thread_of_row(); i < a.width; i += THREADS) {
        result[results + i] = gelu(x[xs + i] + (a.has_bias != 0 ? bias[a.at[1] + i] : 0.0));
    }
}
