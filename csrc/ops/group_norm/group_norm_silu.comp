#version 450
#extension GL_GOOGLE_include_directive : require

#define VALUES uint width, channels;
#include "op.glsl"

layout(constant_id = 0) const bool has_residual = false;

layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) readonly buffer Statistics { float statistics[]; };
layout(binding = 2) readonly buffer Weight { float weight[]; };
layout(binding = 3) readonly buffer Bias { float bias[]; };
layout(binding = 4) readonly buffer Residual { float residual[]; };
layout(binding = 5) writeonly buffer Result { float result[]; };

void main() {
    const uint position = row_of_group();
    if (position >= a.rows) {
        return;
    }
    const uint row = position * a.width;
    for (uint c = thread_of_row(); c < a.width; c += THREADS) {
        const uint of_group = a.at[1] + c / a.channels * 2;
        float y = (x[a.at[0] + row + c] - statistics[of_group]) * statistics[of_group + 1] * weight[a.at[2] + c] +
                  bias[a.at[3] + c];
        if (has_residual) {
            y += residual[a.at[4] + row + c];
        }
        result[a.at[5] + row + c] = silu(y);
    }
}
