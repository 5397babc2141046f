#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/stopping.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/scratch.h"
#include "kernels/magnitude.h"
#include "ops/attention/attention.h"
#include "ops/attention/softmax.h"
#include "ops/mark_not_finite/mark_not_finite.h"

namespace ltx {

#if defined(LTX_GEMM_KERNELS)

namespace {

// Keys and values of a block, packed, and the logits of kGemmRows queries stay in the second-level cache.
constexpr int64_t kBlockKeys = 1024;

const Bf16 * head_of(const ggml_tensor * tensor, int64_t head, int64_t token) {
    return reinterpret_cast<const Bf16 *>(static_cast<const std::byte *>(tensor->data) +
                                          head * static_cast<int64_t>(tensor->nb[1]) +
                                          token * static_cast<int64_t>(tensor->nb[2]));
}

int64_t token_stride(const ggml_tensor * tensor) {
    return static_cast<int64_t>(tensor->nb[2] / sizeof(Bf16));
}

// The memory one thread works in. Rows that products read are kGemmDepth longer than a power of two.
struct Workspace {
    Bf16 * keys;
    Bf16 * values;
    Bf16 * queries;
    Bf16 * weights;
    float * logits;
    float * results;  // of all queries

    static constexpr int64_t kWeightStride = kBlockKeys + kGemmDepth;

    Workspace(int64_t head_dim, int64_t block_keys, int64_t queries_count) {
        GemmScratch & scratch = GemmScratch::of_thread();
        const int64_t padded_dim = round_up(head_dim, kGemmCols);
        keys = scratch.packed.get<Bf16>(2 * block_keys * padded_dim);
        values = keys + block_keys * padded_dim;
        queries = scratch.decoded.get<Bf16>(kGemmRows * (head_dim + kGemmDepth + kWeightStride));
        weights = queries + kGemmRows * (head_dim + kGemmDepth);
        logits = scratch.sums.get<float>(kGemmRows * block_keys);
        results = scratch.partial.get<float>(round_up(queries_count, kGemmRows) * padded_dim);
    }
};

LTX_TARGET_CLONES
uint16_t largest_bits(const Bf16 * x, int64_t count) {
    return largest_magnitude(x, count);
}

bool is_finite(const ggml_tensor * tensor, int64_t head, int64_t token) {
    return largest_bits(head_of(tensor, head, token), tensor->ne[0]) < kInfiniteBf16;
}

// Keys of a head that are not finite, or whose values are not; usually none. The softmax does not show them all: a
// logit of minus infinity weighs nothing.
std::vector<int64_t> bad_keys(const AttentionSources & in, int64_t kv_head) {
    std::vector<int64_t> bad;
    for (int64_t key = 0; key < in.k->ne[2]; ++key) {
        if (!is_finite(in.k, kv_head, key) || !is_finite(in.v, kv_head, key)) {
            bad.push_back(key);
        }
    }
    return bad;
}

const uint16_t * mask_row(const AttentionSources & in, int64_t token) {
    return in.mask ? static_cast<const uint16_t *>(in.mask->data) +
                         token * static_cast<int64_t>(in.mask->nb[1] / sizeof(uint16_t))
                   : nullptr;
}

bool sees_any(const std::vector<int64_t> & keys, const uint16_t * mask) {
    return std::ranges::any_of(keys, [&](int64_t key) { return !mask || mask[key] != kMaskedHalf; });
}

// What the sums of one query are multiplied by: its gate over the sum of its weights, 0 where it sees no key, and NaN
// where it is not finite or sees what is not.
float last_factor(const AttentionSources & in, int64_t head, int64_t token, float sum,
                  const std::vector<int64_t> & bad) {
    if (!is_finite(in.q, head, token) || sees_any(bad, mask_row(in, token))) {
        return std::numeric_limits<float>::quiet_NaN();
    }
    float gate = 1.0f;
    if (in.gate) {
        const float logit = row_of(in.gate, token)[head];
        gate = 2.0f / (1.0f + std::exp(-logit)) + (logit - logit);  // not finite: NaN
    }
    return sum == 0.0f ? 0.0f : gate / sum;
}

struct Keys {
    int64_t first;
    int64_t count;
};

// One head's queries [begin, end) against all keys.
void attend_head(const GemmKernel & kernel, const AttentionSources & in, ggml_tensor * node, int64_t head,
                 int64_t begin, int64_t end) {
    const float scale = constants_of<AttentionConstants>(node).scale;
    const int64_t head_dim = in.q->ne[0];
    const int64_t context = in.k->ne[2];
    const int64_t kv_head = head / (in.q->ne[1] / in.k->ne[1]);
    const int64_t block_keys = std::min(kBlockKeys, round_up(context, kGemmDepth));
    const int64_t query_stride = head_dim + kGemmDepth;
    const Workspace work(head_dim, block_keys, end - begin);
    std::vector<RunningSoftmax> states(static_cast<size_t>(end - begin));
    for (int64_t first = 0; first < context; first += block_keys) {
        const Keys block{first, std::min(block_keys, context - first)};
        const int64_t depth = round_up(block.count, kGemmDepth);
        kernel.pack(head_of(in.k, kv_head, first), token_stride(in.k), block.count, head_dim, {work.keys, head_dim});
        kernel.pack_transposed(head_of(in.v, kv_head, first), token_stride(in.v), head_dim, block.count,
                               {work.values, depth});
        for (int64_t row = begin; row < end; row += kGemmRows) {
            const int64_t rows = std::min(kGemmRows, end - row);
            float * results = work.results + (row - begin) * head_dim;
            for (int64_t r = 0; r < rows; ++r) {
                std::copy_n(head_of(in.q, head, row + r), head_dim, work.queries + r * query_stride);
            }
            const GemmSegment queries{work.queries, head_dim};
            kernel.multiply(
                {{&queries, 1}, query_stride, rows, work.keys, block.count, work.logits, depth, /*add=*/false});
            for (int64_t r = 0; r < rows; ++r) {
                const uint16_t * mask = in.mask ? mask_row(in, row + r) + first : nullptr;
                const float correction = softmax_block_avx512(work.logits + r * depth, block.count, scale, mask,
                                                              work.weights + r * Workspace::kWeightStride,
                                                              states[static_cast<size_t>(row - begin + r)]);
                if (first > 0 && correction != 1.0f) {
                    scale_row_avx512(results + r * head_dim, head_dim, correction);
                }
            }
            const GemmSegment weights{work.weights, depth};
            kernel.multiply({{&weights, 1},
                             Workspace::kWeightStride,
                             rows,
                             work.values,
                             head_dim,
                             results,
                             head_dim,
                             /*add=*/first > 0});
        }
    }
    const std::vector<int64_t> bad = bad_keys(in, kv_head);
    for (int64_t row = begin; row < end; ++row) {
        const float factor = last_factor(in, head, row, states[static_cast<size_t>(row - begin)].sum, bad);
        scaled_to_bf16_avx512(work.results + (row - begin) * head_dim, head_dim, factor,
                              bf16_row_of(node, row) + head * head_dim);
    }
}

}  // namespace

void bf16_attention_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const AttentionSources in = attention_sources(node);
    const int64_t heads = in.q->ne[1];
    const int64_t blocks = (in.q->ne[2] + kGemmRows - 1) / kGemmRows;
    // Threads share the heads; where they do not divide evenly, the queries of each as well.
    int64_t parts = 1;
    while (heads * parts % num_threads != 0 && parts < blocks && parts < num_threads) {
        ++parts;
    }
    const GemmKernel & kernel = *gemm_kernel();
    const GemmScope scope(kernel);
    const auto [first, last] = rows_of_thread(heads * parts, thread, num_threads);
    for (int64_t task = first; task < last && !stopping(); ++task) {
        const auto [begin, end] = rows_of_thread(blocks, static_cast<int>(task % parts), static_cast<int>(parts));
        attend_head(kernel, in, node, task / parts, begin * kGemmRows, std::min(end * kGemmRows, in.q->ne[2]));
    }
}

#else

// Never in a graph: there is no kernel (kernels/gemm).
void bf16_attention_cpu(ggml_tensor * /*node*/, int /*thread*/, int /*num_threads*/, void * /*unused*/) {}

#endif

}  // namespace ltx
