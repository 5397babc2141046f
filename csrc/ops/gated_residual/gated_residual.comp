#version 450
#extension GL_GOOGLE_include_directive : require

#define VALUES uint width, x_step, branch_step, gate_step, has_rows, table_rows;
#include "op.glsl"

layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) readonly buffer Branch { float branch[]; };
layout(binding = 2) readonly buffer Gate { float gate[]; };
layout(binding = 3) readonly buffer Rows { int rows[]; };
layout(binding = 4) writeonly buffer Result { float result[]; };

void main() {
    const uint token = row_of_group();
    if (token >= a.rows) {
        return;
    }
    const int row = a.has_rows != 0 ? rows[a.at[3] + token] : 0;
    const bool is_known = row >= 0 && row < int(a.table_rows);
    const uint xs = a.at[0] + token * a.x_step;
    const uint branches = a.at[1] + token * a.branch_step;
    const uint gates = a.at[2] + uint(max(row, 0)) * a.gate_step;
    const uint results = a.at[4] + token * a.width;
    for (uint i = thread_of_row(); i < a.width; i += THREADS) {
        result[results + i] = is_known ? x[xs + i] + branch[branches + i] * gate[gates + i] : NOT_A_NUMBER;
    }
}
