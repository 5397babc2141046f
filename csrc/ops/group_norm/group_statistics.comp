#version 450
#extension GL_GOOGLE_include_directive : require

#define THREADS 512
#define VALUES uint channels, positions, pitch; float eps;
#include "op.glsl"

layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) writeonly buffer Result { float result[]; };

// The mean of (x - offset)^power over a group. Each thread adds up millions of values, so what a sum loses by rounding
// is kept beside it (Kahan).
float mean_power(uint from, float offset, bool squared) {
    precise float sum = 0.0;
    precise float lost = 0.0;
    const uint count = a.channels * a.positions;
    for (uint i = thread_of_row(); i < count; i += THREADS) {
        const float d = x[from + i / a.channels * a.pitch + i % a.channels] - offset;
        precise float term = (squared ? d * d : d) - lost;
        precise float next = sum + term;
        lost = (next - sum) - term;
        sum = next;
    }
    return sum_of_row(sum) / float(count);
}

void main() {
    const uint group = row_of_group();
    if (group >= a.rows) {
        return;
    }
    const uint from = a.at[0] + group * a.channels;
    const float mean = mean_power(from, 0.0, false);
    const float variance = mean_power(from, mean, true);
    if (thread_of_row() == 0) {
        result[a.at[1] + 2 * group] = mean;
        result[a.at[1] + 2 * group + 1] = 1.0 / sqrt(variance + a.eps);
    }
}
