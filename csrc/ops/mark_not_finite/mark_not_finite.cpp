#include "ops/mark_not_finite/mark_not_finite.h"

#include "base/error.h"
#include "graph/not_finite.h"
#include "graph/product.h"

namespace ltx {

namespace {

// Where a kernel that looks at all keys for each query would look at them too often.
bool marks_by_two_nodes(const Graph & graph) {
    return graph.on_cpu() && graph.fuses("key_flags") && graph.fuses("mark_rows");
}

// 0 for each key of each head, NaN where the key or its value is not finite: F32 [keys, heads of k].
ggml_tensor * key_flags(Graph & graph, const AttentionOperands & in) {
    if (marks_by_two_nodes(graph)) {
        return custom_node(graph, GGML_TYPE_F32, {in.k->ne[2], in.k->ne[1], 1, 1}, {in.k, in.v}, &key_flags_cpu);
    }
    ggml_context * ctx = graph.ctx();
    ggml_tensor * flags = ggml_add(ctx, row_flags(ctx, in.k), row_flags(ctx, in.v));  // ne: [1, heads, keys]
    flags = ggml_reshape_2d(ctx, flags, in.k->ne[1], in.k->ne[2]);
    return ggml_cont(ctx, ggml_transpose(ctx, flags));
}

// 1 where x is above 0, 0 where it is not, or is NaN.
ggml_tensor * is_positive(ggml_context * ctx, ggml_tensor * x, float scale, float offset) {
    return ggml_step(ctx, ggml_scale_bias(ctx, x, scale, offset));
}

// The flags of all keys that a query sees: F32 [heads of k, tokens], or one row for all queries.
ggml_tensor * seen_flags(Graph & graph, const AttentionOperands & in) {
    ggml_context * ctx = graph.ctx();
    constexpr float kAboveLowestHalf = 65505.0f;
    ggml_tensor * flags = key_flags(graph, in);
    if (!in.mask) {
        return ggml_sum_rows(ctx, flags);
    }
    ggml_tensor * bad = ggml_scale_bias(ctx, is_positive(ctx, flags, 1.0f, 1.0f), -1.0f, 1.0f);
    ggml_tensor * visible = is_positive(ctx, ggml_cast(ctx, in.mask, GGML_TYPE_F32), 1.0f, kAboveLowestHalf);
    ggml_tensor * seen = product(graph, bad, visible);  // ne: [heads of k, tokens], the number of bad keys
    ggml_tensor * log = ggml_log(ctx, is_positive(ctx, seen, -1.0f, 0.5f));
    return ggml_sub(ctx, log, log);
}

// The definition of the result, from stock operations.
ggml_tensor * mark_not_finite_composed(Graph & graph, ggml_tensor * result, const AttentionOperands & in) {
    ggml_context * ctx = graph.ctx();
    const int64_t kv_heads = in.k->ne[1];
    ggml_tensor * flags = seen_flags(graph, in);
    if (marks_by_two_nodes(graph)) {
        flags = ggml_reshape_2d(ctx, flags, kv_heads, ggml_nelements(flags) / kv_heads);
        return custom_node_in_place(graph, {result, in.q, flags}, &mark_rows_cpu);
    }
    flags = ggml_reshape_4d(ctx, flags, 1, 1, kv_heads, ggml_nelements(flags) / kv_heads);
    ggml_tensor * y = ggml_add(ctx, result, row_flags(ctx, in.q));
    y = ggml_reshape_4d(ctx, y, result->ne[0], result->ne[1] / kv_heads, kv_heads, result->ne[2]);
    return ggml_reshape_3d(ctx, ggml_add(ctx, y, flags), result->ne[0], result->ne[1], result->ne[2]);
}

}  // namespace

ggml_tensor * mark_not_finite(Graph & graph, ggml_tensor * result, const AttentionOperands & in) {
    expect_rows("mark_not_finite", "result", result, GGML_TYPE_F32, {in.q->ne[0], in.q->ne[1], in.q->ne[2], 1});
    expect_rows("mark_not_finite", "q", in.q, GGML_TYPE_F32, {kAny, kAny, kAny, 1});
    for (const ggml_tensor * each : {in.k, in.v}) {
        expect_rows("mark_not_finite", "k or v", each, GGML_TYPE_F32, {in.q->ne[0], in.k->ne[1], in.k->ne[2], 1});
    }
    if (in.mask) {
        expect_rows("mark_not_finite", "mask", in.mask, GGML_TYPE_F16, {in.k->ne[2], in.q->ne[2], 1, 1});
    }
    if (graph.fuses("mark_not_finite") && graph.on_cpu()) {
        return custom_node_in_place(graph, {result, in.q, in.k, in.v, in.mask}, &mark_not_finite_cpu);
    }
    return mark_not_finite_composed(graph, result, in);
}

}  // namespace ltx
