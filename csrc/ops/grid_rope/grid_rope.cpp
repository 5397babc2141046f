#include "ops/grid_rope/grid_rope.h"

#include "base/error.h"

namespace ltx {

ggml_tensor * norm_grid_rope(Graph & graph, ggml_tensor * qkv, ggml_tensor * q_weight, ggml_tensor * k_weight,
                             float scale, float eps) {
    const int64_t head_dim = q_weight->ne[0];
    expect_rows("norm_grid_rope", "qkv", qkv, GGML_TYPE_F32, {kAny, kAny, kAny, kAny});
    expect_rows("norm_grid_rope", "q_weight", q_weight, GGML_TYPE_F32, {head_dim, 1, 1, 1});
    expect_rows("norm_grid_rope", "k_weight", k_weight, GGML_TYPE_F32, {head_dim, 1, 1, 1});
    if (head_dim % 8 != 0 || qkv->ne[0] % (3 * head_dim) != 0 || !ggml_is_contiguous(qkv)) {
        throw ShapeError("norm_grid_rope: rows of ", qkv->ne[0], " do not divide into three times heads of ", head_dim,
                         " elements, a multiple of 8");
    }
    if (graph.form() == OpForm::Composed) {
        throw UnsupportedError("norm_grid_rope: has no form of stock operations; the device has to run our own");
    }
    return custom_node_in_place_with(graph, {qkv, q_weight, k_weight}, &norm_grid_rope_cpu,
                                     NormGridRopeConstants{scale, eps});
}

}  // namespace ltx
