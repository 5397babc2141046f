#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/magnitude.h"
#include "ops/mark_not_finite/mark_not_finite.h"

namespace ltx {

namespace {

LTX_TARGET_CLONES
int32_t largest_bits(const float * x, int64_t count) {
    return largest_magnitude(x, count);
}

float * head_of(const ggml_tensor * tensor, int64_t head, int64_t token) {
    return reinterpret_cast<float *>(static_cast<std::byte *>(tensor->data) +
                                     head * static_cast<int64_t>(tensor->nb[1]) +
                                     token * static_cast<int64_t>(tensor->nb[2]));
}

bool is_finite(const ggml_tensor * tensor, int64_t head, int64_t token) {
    return largest_bits(head_of(tensor, head, token), tensor->ne[0]) < kInfiniteBits;
}

// Keys of a head that are not finite, or whose values are not; usually none.
std::vector<int64_t> bad_keys(const ggml_tensor * k, const ggml_tensor * v, int64_t head) {
    std::vector<int64_t> bad;
    for (int64_t key = 0; key < k->ne[2]; ++key) {
        if (!is_finite(k, head, key) || !is_finite(v, head, key)) {
            bad.push_back(key);
        }
    }
    return bad;
}

bool sees_any(const std::vector<int64_t> & keys, const ggml_tensor * mask, int64_t token) {
    if (!mask) {
        return !keys.empty();
    }
    const auto * row = reinterpret_cast<const uint16_t *>(row_of(mask, token));
    return std::ranges::any_of(keys, [&](int64_t key) { return row[key] != kMaskedHalf; });
}

}  // namespace

void mark_not_finite_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * q = node->src[1];
    const ggml_tensor * k = node->src[2];
    const ggml_tensor * v = node->src[3];
    const ggml_tensor * mask = node->src[4];
    const int64_t heads = q->ne[1];
    const int64_t tokens = q->ne[2];
    const int64_t group = heads / k->ne[1];
    // Threads share the queries of all heads, one head after the other.
    const auto [begin, end] = rows_of_thread(heads * tokens, thread, num_threads);
    int64_t known_head = -1;
    std::vector<int64_t> bad;
    for (int64_t row = begin; row < end; ++row) {
        const int64_t head = row / tokens;
        const int64_t token = row % tokens;
        if (head / group != known_head) {
            known_head = head / group;
            bad = bad_keys(k, v, known_head);
        }
        if (!is_finite(q, head, token) || sees_any(bad, mask, token)) {
            std::fill_n(head_of(node, head, token), node->ne[0], std::numeric_limits<float>::quiet_NaN());
        }
    }
}

void key_flags_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * k = node->src[0];
    const ggml_tensor * v = node->src[1];
    const auto [begin, end] = rows_of_thread(node->ne[0], thread, num_threads);
    for (int64_t key = begin; key < end; ++key) {
        for (int64_t head = 0; head < node->ne[1]; ++head) {
            const bool fine = is_finite(k, head, key) && is_finite(v, head, key);
            row_of(node, head)[key] = fine ? 0.0f : std::numeric_limits<float>::quiet_NaN();
        }
    }
}

void mark_rows_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * q = node->src[1];
    const ggml_tensor * seen = node->src[2];
    const int64_t group = node->ne[1] / seen->ne[0];
    const auto [begin, end] = rows_of_thread(node->ne[2], thread, num_threads);
    for (int64_t token = begin; token < end; ++token) {
        const float * of_heads = row_of(seen, seen->ne[1] == 1 ? 0 : token);
        for (int64_t head = 0; head < node->ne[1]; ++head) {
            if (!is_finite(q, head, token) || !std::isfinite(of_heads[head / group])) {
                std::fill_n(head_of(node, head, token), node->ne[0], std::numeric_limits<float>::quiet_NaN());
            }
        }
    }
}

}  // namespace ltx
