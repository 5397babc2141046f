#version 450
#extension GL_GOOGLE_include_directive : require

#define THREADS 64
#define VALUES uint head_dim, heads, q_head, q_token, group, seen_token;
#include "op.glsl"

layout(binding = 0) writeonly buffer Result { float result[]; };
layout(binding = 1) readonly buffer Queries { float q[]; };
layout(binding = 2) readonly buffer Seen { float seen[]; };

// A group of threads looks at one head of one query.
void main() {
    const uint row = row_of_group();
    if (row >= a.rows) {
        return;
    }
    const uint token = row / a.heads;
    const uint head = row % a.heads;
    float bad = is_finite(seen[a.at[2] + token * a.seen_token + head / a.group]) ? 0.0 : 1.0;
    for (uint i = thread_of_row(); i < a.head_dim; i += THREADS) {
        if (!is_finite(q[a.at[1] + token * a.q_token + head * a.q_head + i])) {
            bad = 1.0;
        }
    }
    if (sum_of_row(bad) > 0.0) {
        for (uint i = thread_of_row(); i < a.head_dim; i += THREADS) {
            result[a.at[0] + row * a.head_dim + i] = NOT_A_NUMBER;
        }
    }
}
