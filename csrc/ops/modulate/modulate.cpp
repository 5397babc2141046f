#include "ops/modulate/modulate.h"

namespace ltx {

namespace {

// The definition of the result, from stock operations.
ggml_tensor * modulate_composed(ggml_context * ctx, ggml_tensor * x, ggml_tensor * scale, ggml_tensor * shift,
                                ggml_tensor * rows, NormKind norm, float eps) {
    if (norm == NormKind::Rms) {
        x = ggml_rms_norm(ctx, x, eps);
    } else if (norm == NormKind::Layer) {
        x = ggml_norm(ctx, x, eps);
    }
    if (rows) {
        scale = ggml_get_rows(ctx, scale, rows);  // ne: [width, tokens]
        shift = ggml_get_rows(ctx, shift, rows);  // ne: [width, tokens]
    }
    ggml_tensor * scaled = ggml_add(ctx, x, ggml_mul(ctx, x, scale));
    return ggml_add(ctx, scaled, shift);  // ne: [width, tokens]
}

}  // namespace

ggml_tensor * modulate(Graph & graph, ggml_tensor * x, ggml_tensor * scale, ggml_tensor * shift, ggml_tensor * rows,
                       NormKind norm, float eps, bool rounded) {
    const int64_t width = x->ne[0];
    const int64_t tokens = x->ne[1];
    expect_rows("modulate", "x", x, GGML_TYPE_F32, {width, tokens, 1, 1});
    expect_row_table("modulate", "scale", scale, rows, width, tokens);
    expect_row_table("modulate", "shift", shift, rows, width, tokens);
    if (!graph.fuses("modulate")) {
        ggml_tensor * y = modulate_composed(graph.ctx(), x, scale, shift, rows, norm, eps);
        return rounded ? ggml_cast(graph.ctx(), y, GGML_TYPE_BF16) : y;
    }
    const ModulateConstants constants{norm, eps};
    if (!rounded) {
        return custom_node_with(graph, GGML_TYPE_F32, {width, tokens, 1, 1}, {x, scale, shift, rows}, &modulate_cpu,
                                constants);
    }
    ggml_tensor * wide = custom_node_with(graph, GGML_TYPE_BF16, {rounded_row_stride(graph, width), tokens, 1, 1},
                                          {x, scale, shift, rows}, &modulate_cpu, constants);
    return first_columns(graph, wide, width);
}

}  // namespace ltx
