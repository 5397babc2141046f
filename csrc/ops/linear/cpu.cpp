#include <algorithm>

#include "base/stopping.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/scratch.h"
#include "ops/linear/decode.h"
#include "ops/linear/finish.h"
#include "ops/linear/linear.h"

namespace ltx {

namespace {

// Rows whose partial sums are kept; then the panel is packed anew.
constexpr int64_t kMaxRows = 2048;
// Columns and depth that are decoded at a time, in the first-level cache.
constexpr int64_t kDecodedDepth = 256;

struct Range {
    int64_t begin;
    int64_t end;
    int64_t size() const { return end - begin; }
};

void pack(const GemmKernel & kernel, const ggml_tensor * weight, Range cols, Range depth, GemmScratch & scratch,
          Bf16 * packed) {
    if (weight->type == GGML_TYPE_BF16) {
        kernel.pack(bf16_row_of(weight, cols.begin) + depth.begin, static_cast<int64_t>(weight->nb[1] / sizeof(Bf16)),
                    cols.size(), depth.size(), {packed, depth.size()});
        return;
    }
    constexpr int64_t kStride = kDecodedDepth + kGemmDepth;
    Bf16 * decoded = scratch.decoded.get<Bf16>(kGemmCols * kStride);
    for (int64_t col = cols.begin; col < cols.end; col += kGemmCols) {
        const int64_t count = std::min(kGemmCols, cols.end - col);
        for (int64_t first = depth.begin; first < depth.end; first += kDecodedDepth) {
            const int64_t values = std::min(kDecodedDepth, depth.end - first);
            for (int64_t c = 0; c < count; ++c) {
                decode_row(weight, col + c, first, values, decoded + c * kStride);
            }
            kernel.pack(decoded, kStride, count, values,
                        {packed + (col - cols.begin) * depth.size(), depth.size(), first - depth.begin});
        }
    }
}

// Rows times one panel of columns.
void multiply_panel(const GemmKernel & kernel, const LinearSources & in, ggml_tensor * node, Range rows, Range cols) {
    GemmScratch & scratch = GemmScratch::of_thread();
    const int64_t width = round_up(cols.size(), kGemmCols);
    // An odd number of cache lines, or rows would fight for the same ones.
    const int64_t sums_stride = width + kGemmCols / 2;
    const int64_t depth = in.weight->ne[0];
    const bool in_parts = depth > kernel.panel.depth;
    Bf16 * packed = scratch.packed.get<Bf16>(width * std::min(depth, kernel.panel.depth));
    float * sums = in_parts ? scratch.partial.get<float>(round_up(rows.size(), kGemmRows) * sums_stride)
                            : scratch.sums.get<float>(kGemmRows * sums_stride);
    const auto stride = static_cast<int64_t>(in.x->nb[1] / sizeof(Bf16));
    for (int64_t k = 0; k < depth; k += kernel.panel.depth) {
        const Range part{k, std::min(depth, k + kernel.panel.depth)};
        pack(kernel, in.weight, cols, part, scratch, packed);
        for (int64_t row = rows.begin; row < rows.end; row += kGemmRows) {
            const int64_t count = std::min(kGemmRows, rows.end - row);
            float * block = in_parts ? sums + (row - rows.begin) * sums_stride : sums;
            const GemmSegment segment{bf16_row_of(in.x, row) + k, part.size()};
            kernel.multiply({{&segment, 1}, stride, count, packed, cols.size(), block, sums_stride, /*add=*/k > 0});
            if (part.end == depth) {
                for (int64_t r = 0; r < count; ++r) {
                    finish_columns(in, node, row + r, cols.begin, cols.size(), block + r * sums_stride);
                }
            }
        }
    }
}

void multiply_share(const GemmKernel & kernel, ggml_tensor * node, int thread, int num_threads) {
    const LinearSources in = linear_sources(node);
    const int64_t panels = (in.weight->ne[1] + kGemmCols - 1) / kGemmCols;
    const int64_t tokens = in.x->ne[1];
    // Threads share the columns, where there are enough; else the rows as well.
    const int64_t col_parts = std::min<int64_t>(num_threads, panels);
    const int64_t row_parts = std::min(num_threads / col_parts, (tokens + kGemmRows - 1) / kGemmRows);
    if (thread >= col_parts * row_parts) {
        return;
    }
    const GemmScope scope(kernel);
    const auto [first_panel, last_panel] =
        rows_of_thread(panels, static_cast<int>(thread % col_parts), static_cast<int>(col_parts));
    const auto [first_block, last_block] = rows_of_thread(
        (tokens + kGemmRows - 1) / kGemmRows, static_cast<int>(thread / col_parts), static_cast<int>(row_parts));
    const Range cols{first_panel * kGemmCols, std::min(last_panel * kGemmCols, in.weight->ne[1])};
    const Range rows{first_block * kGemmRows, std::min(last_block * kGemmRows, tokens)};
    for (int64_t row = rows.begin; row < rows.end; row += kMaxRows) {
        for (int64_t col = cols.begin; col < cols.end && !stopping(); col += kernel.panel.cols) {
            multiply_panel(kernel, in, node, {row, std::min(rows.end, row + kMaxRows)},
                           {col, std::min(cols.end, col + kernel.panel.cols)});
        }
    }
}

}  // namespace

void linear_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    multiply_share(*gemm_kernel(), node, thread, num_threads);
}

void linear_widened_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    multiply_share(*float_kernels().front(), node, thread, num_threads);
}

void round_rows_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * x = node->src[0];
    const auto [begin, end] = rows_of_thread(x->ne[1], thread, num_threads);
    for (int64_t row = begin; row < end; ++row) {
        to_bf16(row_of(x, row), bf16_row_of(node, row), x->ne[0]);
    }
}

}  // namespace ltx
