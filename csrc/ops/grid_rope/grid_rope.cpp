#include "ops/grid_rope/grid_rope.h"

#include "base/error.h"

namespace ltx {

ggml_tensor * norm_grid_rope(Graph & graph, ggml_tensor * x, ggml_tensor * weight, float scale, float eps) {
    const int64_t head_dim = weight->ne[0];
    expect_rows("norm_grid_rope", "x", x, GGML_TYPE_F32, {kAny, kAny, kAny, kAny});
    expect_rows("norm_grid_rope", "weight", weight, GGML_TYPE_F32, {head_dim, 1, 1, 1});
    if (head_dim % 8 != 0 || x->ne[0] % head_dim != 0 || !cells_are_even(x)) {
        throw ShapeError("norm_grid_rope: rows of ", x->ne[0], " do not divide into heads of ", head_dim,
                         " elements, a multiple of 8");
    }
    if (graph.form() == OpForm::Composed) {
        throw UnsupportedError("norm_grid_rope: has no form of stock operations; the device has to run our own");
    }
    return custom_node_with(graph, GGML_TYPE_F32, {x->ne[0], x->ne[1], x->ne[2], x->ne[3]}, {x, weight},
                            &norm_grid_rope_cpu, NormGridRopeConstants{scale, eps});
}

}  // namespace ltx
