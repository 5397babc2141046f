#include "ops/grid_rope/grid_rope.h"

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace ltx {

namespace {

constexpr float kTheta = 10000.0f;

// The index of each cell of a grid along time, height or width (0, 1, 2), as positions. I32 [cells]
ggml_tensor * places_along(Graph & graph, const ggml_tensor * grid, int axis) {
    const int64_t columns = grid->ne[1];
    const int64_t rows = grid->ne[2];
    const int64_t cells = columns * rows * grid->ne[3];
    std::string name = "places";
    for (const int64_t number : {int64_t{axis}, columns, rows, grid->ne[3]}) {
        name.append(" ").append(std::to_string(number));
    }
    const std::function<std::vector<int32_t>()> places = [=] {
        std::vector<int32_t> result;
        result.reserve(static_cast<size_t>(cells));
        for (int64_t cell = 0; cell < cells; ++cell) {
            const std::array<int64_t, 3> place{cell / (columns * rows), cell / columns % rows, cell % columns};
            result.push_back(static_cast<int32_t>(place[static_cast<size_t>(axis)]));
        }
        return result;
    };
    return graph.constant(name, cells, 1, places);
}

// The definition of the result, from stock operations.
ggml_tensor * norm_grid_rope_composed(Graph & graph, ggml_tensor * qkv, ggml_tensor * q_weight, ggml_tensor * k_weight,
                                      float scale, float eps) {
    ggml_context * ctx = graph.ctx();
    const int64_t head_dim = q_weight->ne[0];
    const int64_t channels = qkv->ne[0] / 3;
    const int64_t cells = qkv->ne[1] * qkv->ne[2] * qkv->ne[3];
    const auto part_of = [&](int64_t part) {  // ne: [head_dim, heads, cells]
        return ggml_view_3d(ctx, qkv, head_dim, channels / head_dim, cells, static_cast<size_t>(head_dim) * qkv->nb[0],
                            qkv->nb[1], static_cast<size_t>(part * channels) * qkv->nb[0]);
    };
    const auto rotated = [&](ggml_tensor * x) {  // ne: [channels, cells]
        ggml_tensor * all = nullptr;
        int64_t first = 0;
        for (int axis = 0; axis < 3; ++axis) {
            const int64_t width = grid_rope_parts(head_dim)[static_cast<size_t>(axis)];
            ggml_tensor * part =
                ggml_view_3d(ctx, x, width, x->ne[1], cells, x->nb[1], x->nb[2], static_cast<size_t>(first) * x->nb[0]);
            part = ggml_rope_ext(ctx, part, places_along(graph, qkv, axis), nullptr, static_cast<int>(width),
                                 GGML_ROPE_TYPE_NORMAL, /*n_ctx_orig=*/0, kTheta, /*freq_scale=*/1.0f,
                                 /*ext_factor=*/0.0f, /*attn_factor=*/1.0f, /*beta_fast=*/0.0f, /*beta_slow=*/0.0f);
            all = all ? ggml_concat(ctx, all, part, 0) : part;
            first += width;
        }
        return ggml_reshape_2d(ctx, all, channels, cells);
    };
    ggml_tensor * q = ggml_mul(ctx, ggml_rms_norm(ctx, part_of(0), eps), ggml_scale(ctx, q_weight, scale));
    ggml_tensor * k = ggml_mul(ctx, ggml_rms_norm(ctx, part_of(1), eps), k_weight);
    ggml_tensor * v =
        ggml_view_2d(ctx, qkv, channels, cells, qkv->nb[1], static_cast<size_t>(2 * channels) * qkv->nb[0]);
    ggml_tensor * all = ggml_concat(ctx, ggml_concat(ctx, rotated(q), rotated(k), 0), v, 0);
    return ggml_reshape_4d(ctx, all, 3 * channels, qkv->ne[1], qkv->ne[2], qkv->ne[3]);
}

}  // namespace

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
    if (!graph.fuses("norm_grid_rope")) {
        return norm_grid_rope_composed(graph, qkv, q_weight, k_weight, scale, eps);
    }
    return custom_node_in_place_with(graph, {qkv, q_weight, k_weight}, &norm_grid_rope_cpu,
                                     NormGridRopeConstants{scale, eps});
}

}  // namespace ltx
