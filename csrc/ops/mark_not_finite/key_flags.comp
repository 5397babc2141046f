#version 450
#extension GL_GOOGLE_include_directive : require

#define THREADS 64
#define VALUES uint head_dim, heads, keys, k_head, k_key, v_head, v_key;
#include "op.glsl"

layout(binding = 0) readonly buffer Keys { float k[]; };
layout(binding = 1) readonly buffer Values { float v[]; };
layout(binding = 2) writeonly buffer Result { float result[]; };

// A group of threads looks at one key of one head.
void main() {
    const uint row = row_of_group();
    if (row >= a.rows) {
        return;
    }
    const uint key = row / a.heads;
    const uint head = row % a.heads;
    float bad = 0.0;
    for (uint i = thread_of_row(); i < a.head_dim; i += THREADS) {
        if (!is_finite(k[a.at[0] + key * a.k_key + head * a.k_head + i]) ||
            !is_finite(v[a.at[1] + key * a.v_key + head * a.v_head + i])) {
            bad = 1.0;
        }
    }
    const float sum = sum_of_row(bad);
    if (thread_of_row() == 0) {
        result[a.at[2] + head * a.keys + key] = sum > 0.0 ? NOT_A_NUMBER : 0.0;
    }
}
