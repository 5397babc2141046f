#include "ops/split_rope/split_rope.h"

#include <string>

#include "base/error.h"

namespace ltx {

namespace {

// The definition of the result, from stock operations.
ggml_tensor * norm_split_rope_composed(Graph & graph, ggml_tensor * x, ggml_tensor * weight, const RopeTables * rope,
                                       int64_t num_heads, float eps) {
    ggml_context * ctx = graph.ctx();
    const int64_t tokens = x->ne[1];
    const int64_t head_dim = x->ne[0] / num_heads;
    const int64_t half = head_dim / 2;
    x = ggml_mul(ctx, ggml_rms_norm(ctx, x, eps), weight);
    if (!rope) {
        return ggml_reshape_3d(ctx, x, head_dim, num_heads, tokens);
    }
    const auto per_head = [&](ggml_tensor * rows, int64_t step, int64_t start) {  // ne: [half, num_heads, tokens]
        return ggml_view_3d(ctx, rows, half, num_heads, tokens, rows->nb[0] * step, rows->nb[1], rows->nb[0] * start);
    };
    ggml_tensor * first = per_head(x, head_dim, 0);
    ggml_tensor * second = per_head(x, head_dim, half);
    const RopeTables of_tokens = shared_rope_tables(graph, *rope);
    ggml_tensor * cos = per_head(of_tokens.cos, half, 0);
    ggml_tensor * sin = per_head(of_tokens.sin, half, 0);
    ggml_tensor * low = ggml_sub(ctx, ggml_mul(ctx, first, cos), ggml_mul(ctx, second, sin));
    ggml_tensor * high = ggml_add(ctx, ggml_mul(ctx, second, cos), ggml_mul(ctx, first, sin));
    return ggml_concat(ctx, low, high, 0);  // ne: [head_dim, num_heads, tokens]
}

}  // namespace

RopeTables shared_rope_tables(Graph & graph, const RopeTables & tables) {
    if (!tables.rows || graph.fuses("norm_split_rope")) {
        return tables;
    }
    ggml_context * ctx = graph.ctx();
    RopeTables sums{};
    for (int64_t axis = 0; axis < tables.rows->ne[1]; ++axis) {
        ggml_tensor * rows =
            ggml_view_1d(ctx, tables.rows, tables.rows->ne[0], static_cast<size_t>(axis) * tables.rows->nb[1]);
        ggml_tensor * cos = ggml_get_rows(ctx, tables.cos, rows);  // ne: [width / 2, tokens]
        ggml_tensor * sin = ggml_get_rows(ctx, tables.sin, rows);
        sums.cos = sums.cos ? ggml_add(ctx, sums.cos, cos) : cos;
        sums.sin = sums.sin ? ggml_add(ctx, sums.sin, sin) : sin;
    }
    return sums;
}

ggml_tensor * norm_split_rope(Graph & graph, ggml_tensor * x, ggml_tensor * weight, const RopeTables * rope,
                              int64_t num_heads, float eps, ggml_type type) {
    const int64_t width = x->ne[0];
    const int64_t tokens = x->ne[1];
    if (num_heads < 1 || width % (num_heads * (rope ? 2 : 1)) != 0) {
        throw ShapeError("norm_split_rope: a width of ", width, " does not divide into ", num_heads, " heads",
                         (rope ? " of two halves" : ""));
    }
    expect_rows("norm_split_rope", "x", x, GGML_TYPE_F32, {width, tokens, 1, 1});
    expect_rows("norm_split_rope", "weight", weight, GGML_TYPE_F32, {width, 1, 1, 1});
    if (rope) {
        const int64_t count = rope->rows ? rope->cos->ne[1] : tokens;
        for (const ggml_tensor * table : {rope->cos, rope->sin}) {
            expect_rows("norm_split_rope", table == rope->cos ? "cos" : "sin", table, GGML_TYPE_F32,
                        {width / 2, count, 1, 1});
        }
        if (rope->rows) {
            expect_rows("norm_split_rope", "rows", rope->rows, GGML_TYPE_I32, {tokens, kAny, 1, 1});
            if (rope->rows->ne[1] > kMaxRopeAxes) {
                throw ShapeError("norm_split_rope: rows of ", rope->rows->ne[1], " axes; it takes up to ",
                                 kMaxRopeAxes);
            }
        }
    }
    if (!graph.fuses("norm_split_rope")) {
        ggml_tensor * y = norm_split_rope_composed(graph, x, weight, rope, num_heads, eps);
        return type == GGML_TYPE_F32 ? y : ggml_cast(graph.ctx(), y, type);
    }
    return custom_node_with(
        graph, type, {width / num_heads, num_heads, tokens, 1},
        {x, weight, rope ? rope->cos : nullptr, rope ? rope->sin : nullptr, rope ? rope->rows : nullptr},
        &norm_split_rope_cpu, NormSplitRopeConstants{eps});
}

}  // namespace ltx
