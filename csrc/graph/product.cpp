#include "graph/product.h"

namespace ltx {

namespace {

// Up to so many rows ggml's Vulkan has kernels of their own, which take no BF16.
constexpr int64_t kFewRows = 8;

bool begins_aligned(const ggml_tensor * x, size_t alignment) {
    return x->view_offs % alignment == 0;
}

bool is_dense(const ggml_tensor * x) {
    return x->nb[0] == ggml_type_size(x->type) && x->nb[1] == ggml_row_size(x->type, x->ne[0]);
}

ggml_tensor * operand(Graph & graph, ggml_tensor * x) {
    const size_t alignment = graph.operand_alignment();
    const bool fits = alignment == 0 || (begins_aligned(x, alignment) && is_dense(x));
    return fits ? x : ggml_cont(graph.ctx(), x);
}

ggml_tensor * aligned(Graph & graph, ggml_tensor * x) {
    const size_t alignment = graph.operand_alignment();
    return alignment == 0 || begins_aligned(x, alignment) ? x : ggml_cont(graph.ctx(), x);
}

}  // namespace

ggml_tensor * product(Graph & graph, ggml_tensor * matrix, ggml_tensor * x) {
    if (graph.operand_alignment() > 0 && x->type == GGML_TYPE_BF16 && x->ne[1] <= kFewRows) {
        x = ggml_cast(graph.ctx(), x, GGML_TYPE_F32);
    }
    ggml_tensor * y = ggml_mul_mat(graph.ctx(), operand(graph, matrix), operand(graph, x));
    ggml_prec_set_acc(y, GGML_PREC_F32);
    return y;
}

ggml_tensor * attention_node(Graph & graph, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, ggml_tensor * mask,
                             float scale) {
    ggml_tensor * o = ggml_flash_attn_ext(graph.ctx(), aligned(graph, q), aligned(graph, k), aligned(graph, v), mask,
                                          scale, /*max_bias=*/0.0f, /*logit_softcap=*/0.0f);
    ggml_prec_set_acc(o, GGML_PREC_F32);
    return o;
}

bool has_aligned_operands(const ggml_tensor * node, size_t alignment) {
    if (alignment == 0) {
        return true;
    }
    if (node->op == GGML_OP_MUL_MAT) {
        const ggml_tensor * matrix = node->src[0];
        const ggml_tensor * x = node->src[1];
        return begins_aligned(matrix, alignment) && is_dense(matrix) && begins_aligned(x, alignment) && is_dense(x) &&
               (x->type != GGML_TYPE_BF16 || x->ne[1] > kFewRows);
    }
    return node->op != GGML_OP_FLASH_ATTN_EXT ||
           (begins_aligned(node->src[0], alignment) && begins_aligned(node->src[1], alignment) &&
            begins_aligned(node->src[2], alignment));
}

}  // namespace ltx
