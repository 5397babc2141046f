#include "ops/int8_linear/int8_linear.h"

namespace ltx {

ggml_tensor * int8_rows(Graph & graph, ggml_tensor * x, int64_t group) {
    expect_rows("int8_rows", "x", x, x->type == GGML_TYPE_BF16 ? GGML_TYPE_BF16 : GGML_TYPE_F32, {kAny, kAny, 1, 1});
    return graph.derived(x, "int8_rows", group, [&] {
        return custom_node_with(graph, GGML_TYPE_I8, {x->ne[0] + kInt8Tail, x->ne[1], 1, 1}, {x}, &int8_rows_cpu,
                                Int8RowsConstants{group});
    });
}

ggml_tensor * int8_linear(Graph & graph, ggml_tensor * weight, const RotatedRows & rotated, ggml_tensor * x,
                          const LinearEpilogue & epilogue) {
    const int64_t in = weight->ne[0];
    const int64_t out = weight->ne[1];
    const int64_t tokens = x->ne[1];
    expect_rows("int8_linear", "weight", weight, GGML_TYPE_I8, {in, out, 1, 1});
    expect_rows("int8_linear", "scales", rotated.scales, GGML_TYPE_F32, {out, 1, 1, 1});
    expect_rows("int8_linear", "x", x, x->type == GGML_TYPE_BF16 ? GGML_TYPE_BF16 : GGML_TYPE_F32, {in, tokens, 1, 1});
    expect_epilogue("int8_linear", epilogue, out, tokens);
    ggml_tensor * rows = int8_rows(graph, x, rotated.group);
    const bool rounded = epilogue.for_products;
    ggml_tensor * y = custom_node_with(
        graph, rounded ? GGML_TYPE_BF16 : GGML_TYPE_F32, {rounded ? rounded_row_stride(graph, out) : out, tokens, 1, 1},
        {weight, rows, rotated.scales, epilogue.bias, epilogue.residual, epilogue.gate, epilogue.gate_rows},
        &int8_linear_cpu, linear_constants(epilogue));
    return first_columns(graph, y, out);
}

}  // namespace ltx
