#include "ops/linear/decode.h"

#include <algorithm>

#include "kernels/cpu_features.h"

namespace ltx {

void decode_row(const ggml_tensor * weight, int64_t row, int64_t first, int64_t count, Bf16 * values) {
    const auto * stored = static_cast<const std::byte *>(weight->data) + row * static_cast<int64_t>(weight->nb[1]) +
                          first / ggml_blck_size(weight->type) * static_cast<int64_t>(ggml_type_size(weight->type));
#if defined(LTX_GEMM_KERNELS)
    static const bool has_avx512 = has_avx512_bf16();
    const auto * blocks = reinterpret_cast<const uint8_t *>(stored);
    switch (has_avx512 ? weight->type : GGML_TYPE_COUNT) {
        case GGML_TYPE_Q8_0:
            return decode_q8_0_avx512(blocks, count, values);
        case GGML_TYPE_Q4_K:
            return decode_q4_k_avx512(blocks, count, values);
        case GGML_TYPE_Q5_K:
            return decode_q5_k_avx512(blocks, count, values);
        case GGML_TYPE_Q6_K:
            return decode_q6_k_avx512(blocks, count, values);
        default:
            break;
    }
#endif
    constexpr int64_t kAtOnce = 256;  // the largest block
    float decoded[kAtOnce];
    const ggml_to_float_t to_float = ggml_get_type_traits(weight->type)->to_float;
    for (int64_t i = 0; i < count; i += kAtOnce) {
        const int64_t n = std::min(kAtOnce, count - i);
        to_float(stored, decoded, n);
        to_bf16(decoded, values + i, n);
        stored += ggml_row_size(weight->type, n);
    }
}

}  // namespace ltx
