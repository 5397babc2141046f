#include "weights/pack.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "base/error.h"

namespace ltx {

namespace {

// Types that ggml has too.
constexpr std::array<std::pair<DType, ggml_type>, 28> kGgmlTypes{{
    {DType::F32, GGML_TYPE_F32},      {DType::F16, GGML_TYPE_F16},      {DType::BF16, GGML_TYPE_BF16},
    {DType::Q1_0, GGML_TYPE_Q1_0},    {DType::Q2_0, GGML_TYPE_Q2_0},    {DType::Q4_0, GGML_TYPE_Q4_0},
    {DType::Q4_1, GGML_TYPE_Q4_1},    {DType::Q5_0, GGML_TYPE_Q5_0},    {DType::Q5_1, GGML_TYPE_Q5_1},
    {DType::Q8_0, GGML_TYPE_Q8_0},    {DType::Q2K, GGML_TYPE_Q2_K},     {DType::Q3K, GGML_TYPE_Q3_K},
    {DType::Q4K, GGML_TYPE_Q4_K},     {DType::Q5K, GGML_TYPE_Q5_K},     {DType::Q6K, GGML_TYPE_Q6_K},
    {DType::IQ1S, GGML_TYPE_IQ1_S},   {DType::IQ1M, GGML_TYPE_IQ1_M},   {DType::IQ2XXS, GGML_TYPE_IQ2_XXS},
    {DType::IQ2XS, GGML_TYPE_IQ2_XS}, {DType::IQ2S, GGML_TYPE_IQ2_S},   {DType::IQ3XXS, GGML_TYPE_IQ3_XXS},
    {DType::IQ3S, GGML_TYPE_IQ3_S},   {DType::IQ4NL, GGML_TYPE_IQ4_NL}, {DType::IQ4XS, GGML_TYPE_IQ4_XS},
    {DType::TQ1_0, GGML_TYPE_TQ1_0},  {DType::TQ2_0, GGML_TYPE_TQ2_0},  {DType::MXFP4, GGML_TYPE_MXFP4},
    {DType::NVFP4, GGML_TYPE_NVFP4},
}};

// 2^exponent of a small exponent, at compile time.
constexpr float power_of_two(int exponent) {
    float value = 1.0f;
    for (; exponent > 0; --exponent) {
        value *= 2.0f;
    }
    for (; exponent < 0; ++exponent) {
        value *= 0.5f;
    }
    return value;
}

// OCP 8-bit floats: sign, exponent, mantissa. E4M3 has no infinities and one NaN pattern; E5M2 follows IEEE.
constexpr std::array<float, 256> kE4M3 = [] {
    std::array<float, 256> values{};
    for (int bits = 0; bits < 256; ++bits) {
        const int exponent = (bits >> 3) & 15;
        const int mantissa = bits & 7;
        const float size = exponent == 0 ? static_cast<float>(mantissa) * power_of_two(-9)
                                         : static_cast<float>(8 + mantissa) * power_of_two(exponent - 10);
        const float value = exponent == 15 && mantissa == 7 ? std::numeric_limits<float>::quiet_NaN() : size;
        values[static_cast<size_t>(bits)] = bits & 0x80 ? -value : value;
    }
    return values;
}();

float decode_e5m2(uint8_t bits) {
    // The upper half of a binary16.
    return ggml_fp16_to_fp32(static_cast<ggml_fp16_t>(bits << 8));
}

// The exponent of a float alone: no sign, and one NaN pattern.
float decode_e8m0(uint8_t bits) {
    if (bits == 255) {
        return std::numeric_limits<float>::quiet_NaN();
    }
    // 2^-127 is subnormal.
    return std::bit_cast<float>(bits == 0 ? uint32_t{1} << 22 : static_cast<uint32_t>(bits) << 23);
}

constexpr std::array<float, 16> kE2M1{0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                      -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

template <typename T, typename F>
void decode(std::span<const std::byte> stored, int64_t first, float * values, int64_t count, F convert) {
    for (int64_t i = 0; i < count; ++i) {
        T element;
        std::memcpy(&element, stored.data() + static_cast<size_t>(first + i) * sizeof(T), sizeof(T));
        values[i] = convert(element);
    }
}

// Whole blocks by ggml's decoder. Safetensors files align nothing, so blocks at odd addresses pass through a buffer.
void decode_as_ggml(DType dtype, const std::byte * blocks, float * values, int64_t count) {
    const ggml_type type = *ggml_type_of(dtype);
    const auto decode_here = ggml_get_type_traits(type)->to_float;
    if (reinterpret_cast<uintptr_t>(blocks) % alignment_of(type) == 0) {
        decode_here(blocks, values, count);
        return;
    }
    alignas(uint32_t) std::array<std::byte, 4096> buffer;
    const int64_t part = static_cast<int64_t>(buffer.size()) / block_bytes(dtype) * block_elements(dtype);
    for (int64_t done = 0; done < count; done += part) {
        const int64_t elements = std::min(part, count - done);
        const int64_t bytes = elements / block_elements(dtype) * block_bytes(dtype);
        std::memcpy(buffer.data(), blocks, static_cast<size_t>(bytes));
        decode_here(buffer.data(), values + done, elements);
        blocks += bytes;
    }
}

// Whole blocks.
void decode_blocks(DType dtype, std::span<const std::byte> stored, int64_t first, float * values, int64_t count) {
    switch (dtype) {
        case DType::F32:
            return decode<float>(stored, first, values, count, [](float v) { return v; });
        case DType::F64:
            return decode<double>(stored, first, values, count, [](double v) { return static_cast<float>(v); });
        case DType::F8E4M3:
            return decode<uint8_t>(stored, first, values, count, [](uint8_t bits) { return kE4M3[bits]; });
        case DType::F8E5M2:
            return decode<uint8_t>(stored, first, values, count, decode_e5m2);
        case DType::F8E8M0:
            return decode<uint8_t>(stored, first, values, count, decode_e8m0);
        case DType::I8:
            return decode<int8_t>(stored, first, values, count, [](int8_t v) { return static_cast<float>(v); });
        case DType::F4E2M1:
            for (int64_t i = 0; i < count; i += 2) {
                const auto pair = std::to_integer<uint8_t>(stored[static_cast<size_t>((first + i) / 2)]);
                values[i] = kE2M1[pair >> 4];
                values[i + 1] = kE2M1[pair & 15];
            }
            return;
        default:
            break;
    }
    check_weight_dtype(dtype);
    const int64_t offset = first / block_elements(dtype) * block_bytes(dtype);
    decode_as_ggml(dtype, stored.data() + offset, values, count);
}

}  // namespace

std::optional<ggml_type> ggml_type_of(DType dtype) {
    const auto entry = std::ranges::find(kGgmlTypes, dtype, &std::pair<DType, ggml_type>::first);
    return entry == kGgmlTypes.end() ? std::nullopt : std::optional(entry->second);
}

size_t alignment_of(ggml_type type) {
    return type == GGML_TYPE_F16 || type == GGML_TYPE_BF16 ? alignof(uint16_t) : alignof(uint32_t);
}

void check_weight_dtype(DType dtype) {
    switch (dtype) {
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
    const int64_t block = block_elements(dtype);
    if (first % block == 0 && count % block == 0) {
        decode_blocks(dtype, stored, first, values, count);
        return;
    }
    const int64_t begin = first - first % block;
    const int64_t end = (first + count + block - 1) / block * block;
    std::vector<float> blocks(static_cast<size_t>(end - begin));
    decode_blocks(dtype, stored, begin, blocks.data(), end - begin);
    std::copy_n(blocks.data() + (first - begin), count, values);
}

bool can_encode(ggml_type type) {
    switch (type) {
        // Their blocks are found by a search over many codes, some only with a matrix of importance.
        case GGML_TYPE_IQ1_S:
        case GGML_TYPE_IQ1_M:
        case GGML_TYPE_IQ2_XXS:
        case GGML_TYPE_IQ2_XS:
        case GGML_TYPE_IQ2_S:
        case GGML_TYPE_IQ3_XXS:
        case GGML_TYPE_IQ3_S:
        // Their two to four values are those that the model was trained with.
        case GGML_TYPE_Q1_0:
        case GGML_TYPE_Q2_0:
        case GGML_TYPE_TQ1_0:
        case GGML_TYPE_TQ2_0:
        // The size of its values is chosen together with a scale of the whole weight.
        case GGML_TYPE_NVFP4:
            return false;
        default:
            return true;
    }
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
            if (!can_encode(type)) {
                throw UnsupportedError("values cannot be stored as ", ggml_type_name(type), " here");
            }
            ggml_quantize_chunk(type, values, encoded, 0, rows, row_elements, nullptr);
            return;
    }
}

}  // namespace ltx
