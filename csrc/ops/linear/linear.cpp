#include "ops/linear/linear.h"

#include "graph/product.h"
#include "kernels/gemm/gemm.h"
#include "ops/bias_gelu/bias_gelu.h"
#include "ops/gated_residual/gated_residual.h"
#include "ops/stock_product/stock_product.h"

namespace ltx {

namespace {

// Fewer tokens leave most of a block of rows empty.
constexpr int64_t kMinTokens = 12;
// The same where the tokens are packed. ggml's product of Q8_0 is the faster one up to kMinTokens, by measurement.
constexpr int64_t kMinPackedTokens = 6;

// Whether so few tokens are packed instead of the weight. Only tiles multiply rows of a weight as fast as they are
// read.
bool packs_tokens(const Graph & graph, int64_t tokens) {
    return tokens <= kMostFewTokens && graph.on_cpu() && graph.own_products() && graph.fuses("linear_few") &&
           gemm_kernel() && gemm_kernel()->outruns_float;
}

int64_t fewest_tokens(const Graph & graph, const ggml_tensor * weight, int64_t tokens) {
    return weight->type != GGML_TYPE_Q8_0 && packs_tokens(graph, tokens) ? kMinPackedTokens : kMinTokens;
}

bool is_decoded(ggml_type type) {
    switch (type) {
        case GGML_TYPE_BF16:
        case GGML_TYPE_Q4_0:
        case GGML_TYPE_Q8_0:
        case GGML_TYPE_Q2_K:
        case GGML_TYPE_Q3_K:
        case GGML_TYPE_Q4_K:
        case GGML_TYPE_Q5_K:
        case GGML_TYPE_Q6_K:
            return true;
        default:
            return false;
    }
}

// Whether ggml's product rounds F32 rows to BF16, and takes rows that are. On other devices it may do neither.
bool multiplies_rounded(const Graph & graph, const ggml_tensor * weight) {
    return graph.on_cpu() && weight->type == GGML_TYPE_BF16;
}

// The definition of the result.
ggml_tensor * linear_composed(Graph & graph, ggml_tensor * weight, ggml_tensor * x, const LinearEpilogue & epilogue) {
    if (x->type == GGML_TYPE_BF16 && multiplies_rounded(graph, weight)) {
        return apply_epilogue(graph, product(graph, weight, x), epilogue);
    }
    if (x->type != GGML_TYPE_F32) {
        x = ggml_cast(graph.ctx(), x, GGML_TYPE_F32);
    }
    ggml_tensor * y = stock_product(graph, weight, x);  // ne: [out, tokens]
    return apply_epilogue(graph, y, epilogue);
}

}  // namespace

ggml_tensor * apply_epilogue(Graph & graph, ggml_tensor * y, const LinearEpilogue & epilogue) {
    if (epilogue.gelu) {
        y = bias_gelu(graph, y, epilogue.bias);
    } else if (epilogue.bias) {
        y = ggml_add(graph.ctx(), y, epilogue.bias);
    }
    if (epilogue.gate) {
        return gated_residual(graph, epilogue.residual, y, epilogue.gate, epilogue.gate_rows);
    }
    return epilogue.residual ? ggml_add(graph.ctx(), epilogue.residual, y) : y;
}

ggml_type activation_type(const ggml_tensor * weight) {
    return is_decoded(weight->type) || weight->type == GGML_TYPE_I8 ? GGML_TYPE_BF16 : GGML_TYPE_F32;
}

bool rounds_for(const Graph & graph, const ggml_tensor * weight, int64_t tokens) {
    const bool own = graph.own_products() || (graph.decodes_weights() && ggml_is_quantized(weight->type));
    return own && graph.fuses(graph.decodes_weights() ? "linear_widened" : "linear") && graph.fuses("round_rows") &&
           tokens >= fewest_tokens(graph, weight, tokens) && is_decoded(weight->type) &&
           weight->ne[0] % kGemmDepth == 0 && weight->ne[2] * weight->ne[3] == 1;
}

bool takes_rounded(const Graph & graph, const ggml_tensor * weight, int64_t tokens) {
    return rounds_for(graph, weight, tokens) || (weight->type == GGML_TYPE_I8 && graph.own_products());
}

ggml_tensor * round_rows(Graph & graph, ggml_tensor * x) {
    expect_rows("round_rows", "x", x, GGML_TYPE_F32, {kAny, kAny, 1, 1});
    ggml_tensor * rounded =
        custom_node(graph, GGML_TYPE_BF16, {rounded_row_stride(graph, x->ne[0]), x->ne[1], 1, 1}, {x}, &round_rows_cpu);
    return first_columns(graph, rounded, x->ne[0]);
}

void expect_epilogue(std::string_view op, const LinearEpilogue & epilogue, int64_t out, int64_t tokens) {
    if (epilogue.bias) {
        expect_rows(op, "bias", epilogue.bias, GGML_TYPE_F32, {out, 1, 1, 1});
    }
    if (epilogue.residual) {
        expect_rows(op, "residual", epilogue.residual, GGML_TYPE_F32, {out, tokens, 1, 1});
    }
    if (epilogue.gate) {
        expect_row_table(op, "gate", epilogue.gate, epilogue.gate_rows, out, tokens);
    }
}

bool rounds_anyway(const Graph & graph, const ggml_tensor * weight, int64_t tokens) {
    return rounds_for(graph, weight, tokens) || multiplies_rounded(graph, weight);
}

ggml_tensor * rounded_once(Graph & graph, ggml_tensor * x, const ggml_tensor * weight) {
    x = round_for_products(graph, x, weight);
    const bool rounds = x->type == GGML_TYPE_F32 && multiplies_rounded(graph, weight);
    return rounds ? ggml_cast(graph.ctx(), x, GGML_TYPE_BF16) : x;
}

ggml_tensor * linear(Graph & graph, ggml_tensor * weight, ggml_tensor * x, const LinearEpilogue & epilogue) {
    const int64_t out = weight->ne[1];
    const int64_t tokens = x->ne[1];
    expect_rows("linear", "x", x, x->type == GGML_TYPE_BF16 ? GGML_TYPE_BF16 : GGML_TYPE_F32,
                {weight->ne[0], tokens, 1, 1});
    expect_epilogue("linear", epilogue, out, tokens);
    if (!rounds_for(graph, weight, tokens)) {
        return linear_composed(graph, weight, x, epilogue);
    }
    x = round_for_products(graph, x, weight);
    const CustomKernel kernel = graph.decodes_weights()       ? &linear_widened_cpu
                                : packs_tokens(graph, tokens) ? &linear_few_cpu
                                                              : &linear_cpu;
    const bool rounded = epilogue.for_products;
    ggml_tensor * y = custom_node_with(graph, rounded ? GGML_TYPE_BF16 : GGML_TYPE_F32,
                                       {rounded ? rounded_row_stride(graph, out) : out, tokens, 1, 1},
                                       {weight, x, epilogue.bias, epilogue.residual, epilogue.gate, epilogue.gate_rows},
                                       kernel, linear_constants(epilogue));
    return first_columns(graph, y, out);
}

}  // namespace ltx
