#include "ops/stock_product/stock_product.h"

#include "ggml-cpu.h"
#include "graph/not_finite.h"
#include "graph/product.h"

namespace ltx {

namespace {

// Up to so many, ggml's CUDA has kernels that round rows to F16 whatever they are told.
constexpr int64_t kFewTokens = 16;

// The type of the rows that ggml's CPU multiplies weights of a type by.
ggml_type row_type(ggml_type weight) {
    return ggml_get_type_traits_cpu(weight)->vec_dot_type;
}

// Whether rows keep what they are when they are rounded: BF16 has the range of F32 and knows NaN.
bool holds_any_row(ggml_type rows) {
    return rows == GGML_TYPE_F32 || rows == GGML_TYPE_BF16;
}

ggml_tensor * fitted_product(Graph & graph, ggml_tensor * weight, ggml_tensor * x, ggml_type type) {
    const int64_t tokens = x->ne[1];
    const auto row_bytes = static_cast<int64_t>(ggml_row_size(type, x->ne[0]));
    // One more, because rows of blocks need not end where a float may begin.
    const int64_t factor_bytes = (tokens + 1) * static_cast<int64_t>(sizeof(float));
    const int64_t factor_rows = (factor_bytes + row_bytes - 1) / row_bytes;
    ggml_tensor * fitted = custom_node(graph, type, {x->ne[0], tokens + factor_rows, 1, 1}, {x}, &fit_rows_cpu);
    ggml_tensor * rows = ggml_view_2d(graph.ctx(), fitted, x->ne[0], tokens, fitted->nb[1], 0);
    ggml_tensor * y = ggml_mul_mat(graph.ctx(), weight, rows);
    return custom_node_in_place(graph, {y, fitted}, &rescale_rows_cpu);
}

// The definition of the result, from stock operations. The length of a row stands for its largest value, which no stock
// operation finds, and the least limit of a rounded type for that of the device's.
ggml_tensor * stock_product_composed(Graph & graph, ggml_tensor * weight, ggml_tensor * x) {
    ggml_context * ctx = graph.ctx();
    const float limit = largest_of_row(weight->type == GGML_TYPE_F16 ? GGML_TYPE_F16 : GGML_TYPE_Q8_1);
    ggml_tensor * length = ggml_sqrt(ctx, ggml_sum_rows(ctx, ggml_sqr(ctx, x)));  // ne: [1, tokens]
    ggml_tensor * factor =
        clamp_finite(ctx, ggml_scale(ctx, length, 1.0f / limit), 1.0f, std::numeric_limits<float>::infinity());
    return ggml_mul(ctx, product(graph, weight, ggml_div(ctx, x, factor)), factor);
}

}  // namespace

ggml_tensor * stock_product(Graph & graph, ggml_tensor * weight, ggml_tensor * x) {
    expect_rows("stock_product", "x", x, GGML_TYPE_F32, {weight->ne[0], kAny, 1, 1});
    const ggml_type type = row_type(weight->type);
    if (holds_any_row(type)) {
        return product(graph, weight, x);
    }
    if (graph.fuses("fit_rows") && graph.fuses("rescale_rows") && graph.on_cpu()) {
        return fitted_product(graph, weight, x, type);
    }
    if (graph.form() == OpForm::Fused && !graph.on_cpu() && weight->type == GGML_TYPE_F16 && x->ne[1] > kFewTokens) {
        // A GPU that is told to sum in F32 takes F32 rows as well.
        return product(graph, weight, x);
    }
    return stock_product_composed(graph, weight, x);
}

}  // namespace ltx
