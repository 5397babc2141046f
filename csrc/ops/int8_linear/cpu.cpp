#include <algorithm>
#include <bit>
#include <cstring>

#include "base/stopping.h"
#include "kernels/gemm/scratch.h"
#include "kernels/int8/int8.h"
#include "kernels/rotation.h"
#include "kernels/simd.h"
#include "ops/int8_linear/int8_linear.h"
#include "ops/linear/finish.h"

namespace ltx {

namespace {

// Rows whose sums are kept where a panel is a part of the depth; then it is packed anew.
constexpr int64_t kMaxRows = 1024;

void widen_row(const ggml_tensor * x, int64_t row, float * values) {
    if (x->type == GGML_TYPE_F32) {
        std::copy_n(row_of(x, row), x->ne[0], values);
        return;
    }
    const Bf16 * rounded = bf16_row_of(x, row);
    for (int64_t i = 0; i < x->ne[0]; ++i) {
        values[i] = std::bit_cast<float>(static_cast<uint32_t>(rounded[i]) << 16);
    }
}

LTX_TARGET_CLONES
void scale_row(const int32_t * __restrict sums, float x_scale, const float * __restrict scales,
               float * __restrict values, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        values[i] = static_cast<float>(sums[i]) * (x_scale * scales[i]);
    }
}

const int8_t * integers_of(const ggml_tensor * rows, int64_t row) {
    return static_cast<const int8_t *>(rows->data) + row * static_cast<int64_t>(rows->nb[1]);
}

struct Range {
    int64_t begin;
    int64_t end;
    int64_t size() const { return end - begin; }
};

// Rows times the columns of a panel.
void multiply_panel(const Int8Kernel & kernel, const LinearSources & in, const ggml_tensor * scales, ggml_tensor * node,
                    Range rows, Range cols) {
    GemmScratch & scratch = GemmScratch::of_thread();
    const int64_t depth = in.weight->ne[0];
    const int64_t width = round_up(cols.size(), kInt8Cols);
    const int64_t sums_stride = width + kInt8RowStep;
    const int64_t panel_depth = std::min(kernel.panel.depth, depth);
    auto * packed = scratch.packed.get<std::byte>(width * panel_depth * kInt8PackedBytes);
    auto * copies = scratch.decoded.get<std::byte>(kInt8ScratchBytes);
    const bool in_parts = depth > panel_depth;
    const int64_t kept_rows = in_parts ? rows.size() : kernel.rows;
    auto * sums = scratch.partial.get<int32_t>(round_up(kept_rows, kInt8RowStep) * sums_stride);
    float * values = scratch.sums.get<float>(width);
    for (int64_t first = 0; first < depth; first += panel_depth) {
        const Range part{first, std::min(depth, first + panel_depth)};
        kernel.pack(integers_of(in.weight, cols.begin) + part.begin, static_cast<int64_t>(in.weight->nb[1]),
                    cols.size(), part.size(), packed);
        for (int64_t row = rows.begin; row < rows.end; row += kernel.rows) {
            const int64_t count = std::min(kernel.rows, rows.end - row);
            int32_t * block = in_parts ? sums + (row - rows.begin) * sums_stride : sums;
            kernel.multiply({.x = integers_of(in.x, row) + part.begin,
                             .row_stride = static_cast<int64_t>(in.x->nb[1]),
                             .rows = count,
                             .packed = packed,
                             .cols = cols.size(),
                             .depth = part.size(),
                             .sums = block,
                             .sums_stride = sums_stride,
                             .add = part.begin > 0,
                             .scratch = copies});
            for (int64_t r = 0; r < count && part.end == depth; ++r) {
                float x_scale = 0.0f;
                std::memcpy(&x_scale, integers_of(in.x, row + r) + depth, sizeof(x_scale));
                scale_row(block + r * sums_stride, x_scale, row_of(scales, 0) + cols.begin, values, cols.size());
                finish_columns(in, node, row + r, cols.begin, cols.size(), values);
            }
        }
    }
}

}  // namespace

void int8_rows_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const ggml_tensor * x = node->src[0];
    const int64_t width = x->ne[0];
    const int64_t group = constants_of<Int8RowsConstants>(node).group;
    const auto [begin, end] = rows_of_thread(x->ne[1], thread, num_threads);
    float * values = GemmScratch::of_thread().decoded.get<float>(width);
    for (int64_t row = begin; row < end; ++row) {
        auto * integers = static_cast<int8_t *>(node->data) + row * static_cast<int64_t>(node->nb[1]);
        widen_row(x, row, values);
        rotate_groups(group, {values, static_cast<size_t>(width)});
        const float scale = round_to_int8(values, width, integers);
        std::memcpy(integers + width, &scale, sizeof(scale));
    }
}

void int8_linear_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const LinearSources in = linear_sources(node, /*first_optional=*/3);
    const ggml_tensor * scales = node->src[2];
    const int64_t panels = (in.weight->ne[1] + kInt8Cols - 1) / kInt8Cols;
    const int64_t tokens = in.x->ne[1];
    const Int8Kernel & kernel = int8_kernel(in.weight->ne[0]);
    const Int8Scope scope(kernel);
    const auto [first_panel, last_panel] = rows_of_thread(panels, thread, num_threads);
    const Range cols{first_panel * kInt8Cols, std::min(last_panel * kInt8Cols, in.weight->ne[1])};
    const int64_t most_rows = in.weight->ne[0] > kernel.panel.depth ? kMaxRows : tokens;
    for (int64_t row = 0; row < tokens; row += most_rows) {
        for (int64_t col = cols.begin; col < cols.end && !stopping(); col += kernel.panel.cols) {
            multiply_panel(kernel, in, scales, node, {row, std::min(tokens, row + most_rows)},
                           {col, std::min(cols.end, col + kernel.panel.cols)});
        }
    }
}

}  // namespace ltx
