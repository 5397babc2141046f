// How weights are held, and what decides it.
#pragma once

#include <functional>

#include "ggml-backend.h"

namespace ltx {

// How a weight is held after loading.
enum class WeightKind {
    Matrix,  // left operand of products: the target type, else as stored; bfloat16 where that is fp8, f64, no type
             // that the device multiplies, quantised with a scale beside it, or one that takes no changed values
             // (can_encode). I8 is such a type unless its rows are rotated and the caller takes them so.
    Rows,    // the same for a matrix whose rows are looked up; one of more rows than the device binds stays in host
             // memory (is_on_host), where nn/embedding.h reads it
    Vector,  // norms, biases, modulation tables: always F32
    // Convolution kernels (out, in, k...): F32 when stored or asked for so, else 16 bits. Repacked into one matrix per
    // tap, ne [in, out, taps]; or, 16 bits where the device takes them so, in the order of the file, ne [in * taps,
    // out].
    Conv,
    // The same for kernels whose input is known to stay within the range of F16.
    BoundedConv,
    // Kernels (out, in, k...) of the exact float32 convolutions (ops/conv): one matrix per tap, the output channel
    // fastest, ne [out, in, taps]. Held as stored or asked for where that is F32, F16 or BF16, else F32.
    Kernel,
    // The same for transposed convolutions, which files store as (in, out, k).
    TransposedKernel,
    // Matrices whose columns belong to `groups` inputs, the group fastest: claimed as (out, in, groups), stored as
    // (out, in * groups). Held as stored, ne [in * groups, out], where that needs no copy or where blocks of a
    // quantised type cannot be reordered; else repacked like Conv into one matrix per group, ne [in, out, groups].
    Grouped,
};

// Whether the kind holds the kernels of ops/conv3d.
inline bool is_conv(WeightKind kind) {
    return kind == WeightKind::Conv || kind == WeightKind::BoundedConv;
}

// Whether the kind holds what LoRAs can change.
inline bool is_matrix(WeightKind kind) {
    return kind == WeightKind::Matrix || kind == WeightKind::Rows || kind == WeightKind::Grouped;
}

// Whether the kind holds the kernels of ops/conv.
inline bool is_kernel(WeightKind kind) {
    return kind == WeightKind::Kernel || kind == WeightKind::TransposedKernel;
}

// Set in ggml_tensor::flags, whose low bits ggml uses, of tables that stay in host memory.
inline constexpr int32_t kOnHostFlag = 1 << 17;

inline bool is_on_host(const ggml_tensor * weight) {
    return (weight->flags & kOnHostFlag) != 0;
}

// What loading needs to know of the device.
struct LoadTarget {
    ggml_backend_buffer_type_t buffer_type;
    bool zero_copy;       // weights may be used where the file is mapped
    ggml_type half_type;  // the 16-bit type for convolution kernels with a bounded input
    ggml_type wide_type;  // the one for others: activations are rounded to it, and may pass what F16 holds
    bool direct_conv;     // BF16 convolution kernels are used in the order of the file
    // Whether the device multiplies a matrix of this type and this many columns, or looks up rows of a table of so many
    // columns and rows.
    std::function<bool(ggml_type, int64_t)> multiplies;
    std::function<bool(ggml_type, int64_t, int64_t)> looks_up;
    // Whether it multiplies so many rotated rows of so many columns as integers (ops/int8_linear).
    std::function<bool(int64_t columns, int64_t rows, int64_t group)> multiplies_rotated;
    int threads;
};

}  // namespace ltx
