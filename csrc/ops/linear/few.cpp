// Products of few tokens. Reading the weight takes longer than multiplying it, so its rows go into the product as they
// lie, or as they are decoded, and the tokens are what is packed: once, instead of every column of the weight.

#include <algorithm>

#include "base/stopping.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/scratch.h"
#include "ops/linear/decode.h"
#include "ops/linear/finish.h"
#include "ops/linear/linear.h"

namespace ltx {

namespace {

static_assert(kMostFewTokens <= kGemmCols && kGemmRows <= kFinishedColumns);

// Depth of the rows that are decoded at a time, in the first-level cache.
constexpr int64_t kDecodedDepth = 512;
// A bit more, so that rows do not fight for the same cache lines.
constexpr int64_t kDecodedStride = kDecodedDepth + kGemmDepth;
constexpr int64_t kLineBytes = 64;

// A part of some rows of the weight, in bytes. Rows that lie apart are more streams than the processor follows, so the
// next part is asked for while one is multiplied.
struct Piece {
    const std::byte * first;
    int64_t stride;
    int64_t rows;
    int64_t bytes;

    void prefetch() const {
        for (int64_t row = 0; row < rows; ++row) {
            const std::byte * line = first + row * stride;
            for (const std::byte * end = line + bytes; line < end; line += kLineBytes) {
                __builtin_prefetch(line, /*rw=*/0, /*locality=*/2);
            }
        }
    }
};

Piece piece_of(const ggml_tensor * weight, int64_t row, int64_t rows, int64_t first, int64_t count) {
    const auto stride = static_cast<int64_t>(weight->nb[1]);
    const auto offset = static_cast<int64_t>(ggml_row_size(weight->type, first));
    return {static_cast<const std::byte *>(weight->data) + row * stride + offset, stride, rows,
            static_cast<int64_t>(ggml_row_size(weight->type, count))};
}

// `count` rows of the weight from `first` on times all tokens: sums [count][kGemmCols], a column for each token.
void multiply_rows(const GemmKernel & kernel, const LinearSources & in, int64_t first, int64_t count,
                   const Bf16 * packed, GemmScratch & scratch, float * sums) {
    const ggml_tensor * weight = in.weight;
    const int64_t depth = weight->ne[0];
    const bool decodes = weight->type != GGML_TYPE_BF16;
    Bf16 * decoded = decodes ? scratch.decoded.get<Bf16>(kGemmRows * kDecodedStride) : nullptr;
    for (int64_t k = 0; k < depth; k += kDecodedDepth) {
        const int64_t values = std::min(kDecodedDepth, depth - k);
        if (k + kDecodedDepth < depth) {
            piece_of(weight, first, count, k + kDecodedDepth, std::min(kDecodedDepth, depth - k - kDecodedDepth))
                .prefetch();
        } else if (first + count < weight->ne[1]) {
            piece_of(weight, first + count, std::min(kGemmRows, weight->ne[1] - first - count), 0,
                     std::min(kDecodedDepth, depth))
                .prefetch();
        }
        GemmSegment segment{bf16_row_of(weight, first) + k, values};
        auto stride = static_cast<int64_t>(weight->nb[1] / sizeof(Bf16));
        if (decodes) {
            for (int64_t row = 0; row < count; ++row) {
                decode_row(weight, first + row, k, values, decoded + row * kDecodedStride);
            }
            segment.x = decoded;
            stride = kDecodedStride;
        }
        kernel.multiply({{&segment, 1},
                         stride,
                         count,
                         packed + k * kGemmCols,
                         in.x->ne[1],
                         sums,
                         kGemmCols,
                         /*add=*/k > 0});
    }
}

}  // namespace

void linear_few_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const LinearSources in = linear_sources(node);
    const int64_t out = in.weight->ne[1];
    const int64_t depth = in.weight->ne[0];
    const int64_t tokens = in.x->ne[1];
    const auto [first_block, last_block] = rows_of_thread((out + kGemmRows - 1) / kGemmRows, thread, num_threads);
    if (first_block == last_block) {
        return;
    }
    const GemmKernel & kernel = *gemm_kernel();
    const GemmScope scope(kernel);
    GemmScratch & scratch = GemmScratch::of_thread();
    Bf16 * packed = scratch.packed.get<Bf16>(kGemmCols * depth);
    kernel.pack(bf16_row_of(in.x, 0), static_cast<int64_t>(in.x->nb[1] / sizeof(Bf16)), tokens, depth, {packed, depth});
    float * sums = scratch.sums.get<float>(kGemmRows * kGemmCols);
    for (int64_t first = first_block * kGemmRows; first < std::min(last_block * kGemmRows, out) && !stopping();
         first += kGemmRows) {
        const int64_t count = std::min(kGemmRows, out - first);
        multiply_rows(kernel, in, first, count, packed, scratch, sums);
        float of_token[kGemmRows];
        for (int64_t token = 0; token < tokens; ++token) {
            for (int64_t row = 0; row < count; ++row) {
                of_token[row] = sums[row * kGemmCols + token];
            }
            finish_columns(in, node, token, first, count, of_token);
        }
    }
}

}  // namespace ltx
