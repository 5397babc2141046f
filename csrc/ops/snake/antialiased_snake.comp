#version 450
#extension GL_GOOGLE_include_directive : require

#define VALUES uint channels, blocks; int samples;
#include "op.glsl"

layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) readonly buffer Alpha { float alpha[]; };
layout(binding = 2) readonly buffer Beta { float beta[]; };
layout(binding = 3) readonly buffer Up { float up[]; };
layout(binding = 4) readonly buffer Down { float down[]; };
layout(binding = 5) writeonly buffer Result { float result[]; };

// A group computes some results of some channels from their part of the doubled signal, which it makes once.
const int TAPS = 12;
const uint CHANNELS = 32;
const int ROWS = 32;
const int DOUBLED = 2 * ROWS + 10;
shared float doubled[DOUBLED * CHANNELS];

// 1 / pi in binary, behind the point.
const uint INVERSE_PI[5] = {0x517cc1b7u, 0x27220a94u, 0xfe13abe8u, 0xfa9a6ee0u, 0x6db14accu};

// 32 bits of 1 / pi from the one numbered `first` on; those before the point are zero.
uint bits_of_inverse_pi(int first) {
    const int word = first >> 5;
    const int within = first & 31;
    const uint left = word < 0 ? 0u : INVERSE_PI[word];
    const uint right = word < -1 ? 0u : INVERSE_PI[word + 1];
    return within == 0 ? left : (left << within) | (right >> (32 - within));
}

// sin(x)^2, absolute error at most 1e-7. |x| counts as less than 2^119. What a device has by itself may be off by 5e-4,
// and few have double precision: of x = m 2^e the rest modulo pi is taken in integers, where whole multiples of pi drop
// out of m (2^e / pi).
float sin_squared(float x) {
    const uint magnitude = floatBitsToUint(x) & 0x7fffffffu;
    if (magnitude >= 0x7f800000u) {
        return NOT_A_NUMBER;
    }
    float r = uintBitsToFloat(magnitude);
    if (r > 1.5) {
        const int exponent = min(int(magnitude >> 23) - 150, 95);
        const uint fraction = (magnitude & 0x7fffffu) | 0x800000u;
        uint high, low;
        umulExtended(fraction, bits_of_inverse_pi(exponent + 32), high, low);
        const uint turns = fraction * bits_of_inverse_pi(exponent) + high;
        r = float(int(turns)) * (3.14159265358979 / 4294967296.0);
    }
    const float square = r * r;
    float tail = 2.60577789e-6;
    tail = tail * square - 1.98096015e-4;
    tail = tail * square + 8.33306622e-3;
    tail = tail * square - 1.66666595e-1;
    const float sine = r + r * square * tail;
    return sine * sine;
}

// The signal behind its ends is their value.
float signal_at(int row, uint c) {
    return x[a.at[0] + uint(clamp(row, 0, a.samples - 1)) * a.channels + c];
}

float doubled_at(int row, uint c) {
    row = clamp(row, 0, 2 * a.samples - 1);
    const int n = row >> 1;
    const int odd = row & 1;
    float u = 0.0;
    for (int q = 0; q < TAPS / 2; ++q) {
        u += up[a.at[3] + 2 * q + 1 - odd] * signal_at(n + 2 + odd - q, c);
    }
    u *= 2.0;
    return u + sin_squared(u * exact_exp(alpha[a.at[1] + c])) / (exact_exp(beta[a.at[2] + c]) + 1e-9);
}

void main() {
    const uint group = row_of_group();
    if (group >= a.rows) {
        return;
    }
    const uint first_channel = group % a.blocks * CHANNELS;
    const int first_row = int(group / a.blocks) * ROWS;
    for (uint i = thread_of_row(); i < DOUBLED * CHANNELS; i += THREADS) {
        const uint c = first_channel + i % CHANNELS;
        if (c < a.channels) {
            doubled[i] = doubled_at(2 * first_row - 5 + int(i / CHANNELS), c);
        }
    }
    barrier();
    for (uint i = thread_of_row(); i < ROWS * CHANNELS; i += THREADS) {
        const uint c = first_channel + i % CHANNELS;
        const int row = int(i / CHANNELS);
        if (c < a.channels && first_row + row < a.samples) {
            float sum = 0.0;
            for (int j = 0; j < TAPS; ++j) {
                sum += down[a.at[4] + j] * doubled[uint(2 * row + j) * CHANNELS + i % CHANNELS];
            }
            result[a.at[5] + uint(first_row + row) * a.channels + c] = sum;
        }
    }
}
