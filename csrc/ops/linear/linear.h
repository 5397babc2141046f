// y = W x and what follows it in one pass: bias, GELU or a gated residual.
#pragma once

#include "kernels/custom.h"

namespace ltx {

// What happens to each element of the product, in this order.
struct LinearEpilogue {
    ggml_tensor * bias = nullptr;  // F32 [out]
    bool gelu = false;             // in the tanh form
    // y becomes residual + y * gate: F32 [out, tokens], and a row table as in modulate (gate null: residual + y).
    ggml_tensor * residual = nullptr;
    ggml_tensor * gate = nullptr;
    ggml_tensor * gate_rows = nullptr;
    // The consumers multiply the result by weights like this one: it may be rounded for them already.
    bool for_products = false;
};

// weight: [in, out] of any type; x: F32 or BF16 [in, tokens] -> F32 [out, tokens], or what round_for_products makes.
//
// Where the graph's products are our own (Graph::own_products), tokens are not few and the weight is BF16 or quantised,
// x is rounded to BF16 and quantised weights are decoded to BF16 a panel at a time, with F32 sums; so it is for
// quantised weights on every CPU (Graph::decodes_weights), or what is rounded would depend on it. Elsewhere this is
// ggml's product (ops/stock_product). Throws ShapeError.
ggml_tensor * linear(Graph & graph, ggml_tensor * weight, ggml_tensor * x, const LinearEpilogue & epilogue = {});

// The epilogue by nodes of its own, for a product that was made otherwise. y: F32 [out, tokens] -> the same.
ggml_tensor * apply_epilogue(Graph & graph, ggml_tensor * y, const LinearEpilogue & epilogue);

// The type of activations where they meet weights of this type: F32 and F16 weights multiply F32 activations, all
// others rounded ones. Attention between such layers computes in it too.
ggml_type activation_type(const ggml_tensor * weight);

// Whether linear() would round x for this weight.
bool rounds_for(const Graph & graph, const ggml_tensor * weight, int64_t tokens);

// Whether x may come rounded to BF16: linear() would round it, or int8_linear() rounds it further, to 8 bits.
bool takes_rounded(const Graph & graph, const ggml_tensor * weight, int64_t tokens);

// x: F32 [width, tokens] -> BF16 [width, tokens] with rows further apart, as the products read it fastest. One rounding
// for several products.
ggml_tensor * round_rows(Graph & graph, ggml_tensor * x);

// x for products with `weight`: rounded if they round it, else as it is.
inline ggml_tensor * round_for_products(Graph & graph, ggml_tensor * x, const ggml_tensor * weight) {
    return x->type == GGML_TYPE_F32 && rounds_for(graph, weight, x->ne[1]) ? round_rows(graph, x) : x;
}

// Whether BF16 rows give the same product as the F32 rows that they were rounded from. Where linear() does not round,
// ggml's product on a CPU may.
bool rounds_anyway(const Graph & graph, const ggml_tensor * weight, int64_t tokens);

// x for several products with weights like this one, rounded where each of them would.
ggml_tensor * rounded_once(Graph & graph, ggml_tensor * x, const ggml_tensor * weight);

// Most tokens of a product that packs them instead of the weight.
inline constexpr int64_t kMostFewTokens = 32;

struct LinearConstants {
    int32_t gelu;
    int32_t has_bias;
    int32_t has_residual;
    int32_t has_gate;
    int32_t has_rows;
};

// What stands in the constants of a node.
inline LinearConstants linear_constants(const LinearEpilogue & epilogue) {
    return {epilogue.gelu, epilogue.bias != nullptr, epilogue.residual != nullptr, epilogue.gate != nullptr,
            epilogue.gate_rows != nullptr};
}

// Throws ShapeError for parts of an epilogue that do not fit a product of `out` rows and `tokens` columns. `op` is for
// messages.
void expect_epilogue(std::string_view op, const LinearEpilogue & epilogue, int64_t out, int64_t tokens);

// The sources of a node by name; of the optional ones, null ones are not there.
struct LinearSources {
    const ggml_tensor * weight;
    const ggml_tensor * x;
    const ggml_tensor * bias;
    const ggml_tensor * residual;
    const ggml_tensor * gate;
    const ggml_tensor * gate_rows;
};

// `first_optional`: how many sources there are always.
inline LinearSources linear_sources(const ggml_tensor * node, int first_optional = 2) {
    const auto constants = constants_of<LinearConstants>(node);
    OptionalSources optional(node, first_optional);
    return {.weight = node->src[0],
            .x = node->src[1],
            .bias = optional.take(constants.has_bias),
            .residual = optional.take(constants.has_residual),
            .gate = optional.take(constants.has_gate),
            .gate_rows = optional.take(constants.has_rows)};
}

// Sources as above.
void linear_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

// The same where a CPU has no BF16 instructions.
void linear_widened_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

// The same for at most kMostFewTokens tokens, where it has.
void linear_few_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

// Source: x.
void round_rows_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
