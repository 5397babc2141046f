// Included by sources built for AVX-512, so all in here has internal linkage.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace ltx {

namespace {

// 64 bytes of 16 columns become 16 rows of 4 bytes of each. `kFlip`: bits to turn over in each 4.
template <uint32_t kFlip = 0, typename Element>
inline void transpose_tile(const Element * const (&columns)[16], void * out) {
    const auto store = [out](int row, __m512i values) {
        if constexpr (kFlip != 0) {
            values = _mm512_xor_si512(values, _mm512_set1_epi32(static_cast<int>(kFlip)));
        }
        _mm512_store_si512(static_cast<std::byte *>(out) + 64 * row, values);
    };
    __m512i r[16], t[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
        r[i] = _mm512_loadu_si512(columns[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    // r[4 g + j] holds, in lane l, row 4 l + j of columns 4 g .. 4 g + 3.
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        t[j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
        t[4 + j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
        t[8 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
        t[12 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        store(j, _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88));
        store(8 + j, _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd));
        store(4 + j, _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0x88));
        store(12 + j, _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0xdd));
    }
}

}  // namespace

}  // namespace ltx
