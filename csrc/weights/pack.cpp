#include "weights/pack.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"

namespace ltx {

namespace {

// OCP 8-bit floats: sign, exponent, mantissa. E4M3 has no infinities and one NaN pattern; E5M2 follows IEEE.
float decode_e4m3(uint8_t bits) {
    const int exponent = (bits >> 3) & 15;
    const int mantissa = bits & 7;
    float value = 0.0f;
    if (exponent == 15 && mantissa == 7) {
        value = std::nanf("");
    } else if (exponent == 0) {
        value = std::ldexp(static_cast<float>(mantissa), -9);
    } else {
        value = std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    }
    return (bits & 0x80) ? -value : value;
}

float decode_e5m2(uint8_t bits) {
    // The upper half of a binary16.
    return ggml_fp16_to_fp32(static_cast<ggml_fp16_t>(bits << 8));
}

template <typename T, typename F>
void decode(std::span<const std::byte> stored, int64_t first, float * values, int64_t count, F convert) {
    for (int64_t i = 0; i < count; ++i) {
        T element;
        std::memcpy(&element, stored.data() + static_cast<size_t>(first + i) * sizeof(T), sizeof(T));
        values[i] = convert(element);
    }
}

}  // namespace

std::optional<ggml_type> ggml_type_of(DType dtype) {
    switch (dtype) {
        case DType::F32:
            return GGML_TYPE_F32;
        case DType::F16:
            return GGML_TYPE_F16;
        case DType::BF16:
            return GGML_TYPE_BF16;
        case DType::Q4_0:
            return GGML_TYPE_Q4_0;
        case DType::Q4_1:
            return GGML_TYPE_Q4_1;
        case DType::Q5_0:
            return GGML_TYPE_Q5_0;
        case DType::Q5_1:
            return GGML_TYPE_Q5_1;
        case DType::Q8_0:
            return GGML_TYPE_Q8_0;
        case DType::Q2K:
            return GGML_TYPE_Q2_K;
        case DType::Q3K:
            return GGML_TYPE_Q3_K;
        case DType::Q4K:
            return GGML_TYPE_Q4_K;
        case DType::Q5K:
            return GGML_TYPE_Q5_K;
        case DType::Q6K:
            return GGML_TYPE_Q6_K;
        case DType::IQ4NL:
            return GGML_TYPE_IQ4_NL;
        case DType::IQ4XS:
            return GGML_TYPE_IQ4_XS;
        case DType::MXFP4:
            return GGML_TYPE_MXFP4;
        default:
            return std::nullopt;
    }
}

void check_weight_dtype(DType dtype) {
    switch (dtype) {
        case DType::I8:
        case DType::U8:
        case DType::I16:
        case DType::I32:
        case DType::I64:
        case DType::Bool:
            throw UnsupportedError("weights of type ", to_string(dtype), " are not read");
        default:
            return;
    }
}

void to_float(DType dtype, std::span<const std::byte> stored, int64_t first, float * values, int64_t count) {
    switch (dtype) {
        case DType::F32:
            decode<float>(stored, first, values, count, [](float v) { return v; });
            return;
        case DType::F64:
            decode<double>(stored, first, values, count, [](double v) { return static_cast<float>(v); });
            return;
        case DType::F8E4M3:
            decode<uint8_t>(stored, first, values, count, decode_e4m3);
            return;
        case DType::F8E5M2:
            decode<uint8_t>(stored, first, values, count, decode_e5m2);
            return;
        default:
            break;
    }
    check_weight_dtype(dtype);
    const ggml_type_traits * traits = ggml_get_type_traits(*ggml_type_of(dtype));
    const int64_t offset = first / block_elements(dtype) * block_bytes(dtype);
    traits->to_float(stored.data() + offset, values, count);
}

void from_float(ggml_type type, const float * values, int64_t rows, int64_t row_elements, std::byte * encoded) {
    switch (type) {
        case GGML_TYPE_F32:
            std::memcpy(encoded, values, static_cast<size_t>(rows * row_elements) * sizeof(float));
            return;
        case GGML_TYPE_F16:
            ggml_fp32_to_fp16_row(values, reinterpret_cast<ggml_fp16_t *>(encoded), rows * row_elements);
            return;
        case GGML_TYPE_BF16:
            ggml_fp32_to_bf16_row(values, reinterpret_cast<ggml_bf16_t *>(encoded), rows * row_elements);
            return;
        default:
            ggml_quantize_chunk(type, values, encoded, 0, rows, row_elements, nullptr);
            return;
    }
}

}  // namespace ltx
