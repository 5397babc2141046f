#include "base/dtype.h"

#include <array>

#include "base/error.h"

namespace ltx {

namespace {

struct Entry {
    DType dtype;
    std::string_view name;
    int64_t elements;
    int64_t bytes;
};

// Block sizes of the quantised types are part of the GGUF format.
constexpr std::array<Entry, 39> kEntries{{
    {DType::F32, "f32", 1, 4},        {DType::F16, "f16", 1, 2},           {DType::BF16, "bf16", 1, 2},
    {DType::F64, "f64", 1, 8},        {DType::F8E4M3, "f8_e4m3", 1, 1},    {DType::F8E5M2, "f8_e5m2", 1, 1},
    {DType::F8E8M0, "f8_e8m0", 1, 1}, {DType::F4E2M1, "f4_e2m1", 2, 1},    {DType::I8, "i8", 1, 1},
    {DType::U8, "u8", 1, 1},          {DType::I16, "i16", 1, 2},           {DType::I32, "i32", 1, 4},
    {DType::I64, "i64", 1, 8},        {DType::Bool, "bool", 1, 1},         {DType::Q1_0, "q1_0", 128, 18},
    {DType::Q2_0, "q2_0", 64, 18},    {DType::Q4_0, "q4_0", 32, 18},       {DType::Q4_1, "q4_1", 32, 20},
    {DType::Q5_0, "q5_0", 32, 22},    {DType::Q5_1, "q5_1", 32, 24},       {DType::Q8_0, "q8_0", 32, 34},
    {DType::Q2K, "q2_k", 256, 84},    {DType::Q3K, "q3_k", 256, 110},      {DType::Q4K, "q4_k", 256, 144},
    {DType::Q5K, "q5_k", 256, 176},   {DType::Q6K, "q6_k", 256, 210},      {DType::IQ1S, "iq1_s", 256, 50},
    {DType::IQ1M, "iq1_m", 256, 56},  {DType::IQ2XXS, "iq2_xxs", 256, 66}, {DType::IQ2XS, "iq2_xs", 256, 74},
    {DType::IQ2S, "iq2_s", 256, 82},  {DType::IQ3XXS, "iq3_xxs", 256, 98}, {DType::IQ3S, "iq3_s", 256, 110},
    {DType::IQ4NL, "iq4_nl", 32, 18}, {DType::IQ4XS, "iq4_xs", 256, 136},  {DType::TQ1_0, "tq1_0", 256, 54},
    {DType::TQ2_0, "tq2_0", 256, 66}, {DType::MXFP4, "mxfp4", 32, 17},     {DType::NVFP4, "nvfp4", 64, 36},
}};

const Entry & entry(DType dtype) {
    return kEntries[static_cast<size_t>(dtype)];
}

}  // namespace

DType parse_dtype(std::string_view name) {
    for (const Entry & e : kEntries) {
        if (e.name == name) {
            return e.dtype;
        }
    }
    throw ArgumentError("unknown dtype '", name, "'");
}

std::string to_string(DType dtype) {
    return std::string(entry(dtype).name);
}

int64_t block_elements(DType dtype) {
    return entry(dtype).elements;
}

int64_t block_bytes(DType dtype) {
    return entry(dtype).bytes;
}

int64_t row_bytes(DType dtype, int64_t elements) {
    const Entry & e = entry(dtype);
    if (elements % e.elements != 0) {
        throw ShapeError("a row of ", elements, " elements does not fill whole ", e.name, " blocks of ", e.elements);
    }
    return elements / e.elements * e.bytes;
}

}  // namespace ltx
