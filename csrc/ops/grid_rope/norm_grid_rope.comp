#version 450
#extension GL_GOOGLE_include_directive : require

#define THREADS 64
#define VALUES uint head_dim, channels, columns, lines, time_part, height_part; float scale, eps;
#include "op.glsl"

layout(binding = 0) buffer QueriesKeysValues { float x[]; };
layout(binding = 1) readonly buffer QueryWeight { float q_weight[]; };
layout(binding = 2) readonly buffer KeyWeight { float k_weight[]; };

// cos and sin of x up to 3000, absolute error below 1e-7: what a device has by itself may be off by 5e-4. The rest of x
// modulo pi / 2 is taken in three parts, of which n times the first two is exact; polynomials fitted on |r| <= pi / 4.
vec2 exact_cos_sin(float x) {
    precise float n = roundEven(x * 0.6366197723675814);
    precise float r = ((x - n * 1.5703125) - n * 4.838109016418457e-4) - n * 1.5893254773528196e-8;
    const float square = r * r;
    const float sine =
        r + r * square * (-1.666666467e-1 + square * (8.332748635e-3 + square * -1.958794987e-4));
    const float cosine =
        1.0 + (square * -0.5 +
               square * square * (4.166666466e-2 + square * (-1.388830335e-3 + square * 2.454799308e-5)));
    switch (int(n) & 3) {
        case 0:
            return vec2(cosine, sine);
        case 1:
            return vec2(-sine, cosine);
        case 2:
            return vec2(-cosine, -sine);
        default:
            return vec2(sine, -cosine);
    }
}

// A group of threads works on one head of the queries or keys of a cell.
void main() {
    const uint row = row_of_group();
    if (row >= a.rows) {
        return;
    }
    const uint heads = 2 * a.channels / a.head_dim;
    const uint cell = row / heads;
    const uint start = row % heads * a.head_dim;
    const bool is_query = start < a.channels;
    const uint from = a.at[0] + cell * 3 * a.channels + start;
    float squares = 0.0;
    for (uint i = thread_of_row(); i < a.head_dim; i += THREADS) {
        squares += x[from + i] * x[from + i];
    }
    const float mean = sum_of_row(squares) / float(a.head_dim);
    const float factor = 1.0 / sqrt(mean + a.eps) * (is_query ? a.scale : 1.0);
    for (uint pair = thread_of_row(); pair < a.head_dim / 2; pair += THREADS) {
        const uint i = 2 * pair;
        // The part of the head, and how far along its axis the cell lies.
        uint first = 0;
        uint width = a.time_part;
        uint place = cell / (a.columns * a.lines);
        if (i >= a.time_part + a.height_part) {
            first = a.time_part + a.height_part;
            width = a.head_dim - first;
            place = cell % a.columns;
        } else if (i >= a.time_part) {
            first = a.time_part;
            width = a.height_part;
            place = cell / a.columns % a.lines;
        }
        const float even = x[from + i] * factor * (is_query ? q_weight[a.at[1] + i] : k_weight[a.at[2] + i]);
        const float odd =
            x[from + i + 1] * factor * (is_query ? q_weight[a.at[1] + i + 1] : k_weight[a.at[2] + i + 1]);
        const float log_theta = 9.210340371976184;
        const float frequency = exact_exp(-float(i - first) / float(width) * log_theta);
        const vec2 turn = exact_cos_sin(float(place) * frequency);
        x[from + i] = even * turn.x - odd * turn.y;
        x[from + i + 1] = even * turn.y + odd * turn.x;
    }
}
