// What the shaders share. A group of threads works on one row, in the order of kernels/vulkan/vulkan_op.h: where each
// tensor begins, the number of rows, and then what the shader asks for with VALUES.
#extension GL_EXT_shader_16bit_storage : require

#ifndef THREADS
#define THREADS 128
#endif
layout(local_size_x = THREADS) in;

layout(push_constant) uniform Arguments {
    uint at[6];
    uint rows;
    VALUES
} a;

#define NOT_A_NUMBER uintBitsToFloat(0x7fc00000u)

uint row_of_group() {
    return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
}

uint thread_of_row() {
    return gl_LocalInvocationID.x;
}

shared float of_thread[THREADS];

// The sum over the threads of a row, in the same order every time. All of them must call it.
float sum_of_row(float value) {
    of_thread[gl_LocalInvocationID.x] = value;
    barrier();
    for (uint half_of = THREADS / 2; half_of > 0; half_of /= 2) {
        if (gl_LocalInvocationID.x < half_of) {
            of_thread[gl_LocalInvocationID.x] += of_thread[gl_LocalInvocationID.x + half_of];
        }
        barrier();
    }
    const float sum = of_thread[0];
    barrier();  // before the next sum writes
    return sum;
}

// The bits of BF16: round to nearest even; a NaN stays a quiet NaN. Arithmetic on 16 bits is more than every device has,
// and constants of 16 bits belong to it: what is written must not be known when the shader is compiled.
uint to_bf16(float x) {
    const uint bits = floatBitsToUint(x);
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return is_nan ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

// On the bits, because a driver's compiler may assume that there is nothing else.
bool is_finite(float x) {
    return (floatBitsToUint(x) & 0x7f800000u) != 0x7f800000u;
}

// e^x as kernels/simd_math.h computes it: what a device has by itself may lose the last digits. |x| counts as 88 at
// most.
float exact_exp(float x) {
    x = clamp(x, -88.0, 88.0);
    precise float n = roundEven(x * 1.442695041);
    precise float r = (x - n * 0.693359375) - n * -2.12194440e-4;
    float tail = 1.38145837e-3;
    tail = tail * r + 8.36872403e-3;
    tail = tail * r + 4.16683890e-2;
    tail = tail * r + 1.66665211e-1;
    tail = tail * r + 4.99999940e-1;
    return (1.0 + (r + r * r * tail)) * uintBitsToFloat(uint(int(n) + 127) << 23);
}

float silu(float x) {
    return x / (1.0 + exact_exp(-x));
}
