// Element types of stored tensors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ltx {

enum class DType {
    F32,
    F16,
    BF16,
    F64,
    F8E4M3,
    F8E5M2,
    F8E8M0,  // a power of two, for scales
    F4E2M1,  // two in a byte, the first in its upper half
    I8,
    U8,
    I16,
    I32,
    I64,
    Bool,
    Q1_0,
    Q2_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    IQ1S,
    IQ1M,
    IQ2XXS,
    IQ2XS,
    IQ2S,
    IQ3XXS,
    IQ3S,
    IQ4NL,
    IQ4XS,
    TQ1_0,
    TQ2_0,
    MXFP4,
    NVFP4,
};

// Parses the lower-case names of the Python side ("bf16", "q8_0"); throws ArgumentError for another.
DType parse_dtype(std::string_view name);

std::string to_string(DType dtype);

// Elements per block (1 for plain types) and bytes per block.
int64_t block_elements(DType dtype);
int64_t block_bytes(DType dtype);

// Bytes of a row of `elements`; throws ShapeError when the row does not fill whole blocks.
int64_t row_bytes(DType dtype, int64_t elements);

}  // namespace ltx
