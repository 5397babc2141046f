#include "ops/snake/snake.h"

#include "base/error.h"

namespace ltx {

namespace {

ggml_tensor * rows_from(ggml_context * ctx, ggml_tensor * x, int64_t first, int64_t count, size_t step = 1) {
    return ggml_view_2d(ctx, x, x->ne[0], count, x->nb[1] * step, static_cast<size_t>(first) * x->nb[1]);
}

// The first row `before` times more, the last one `after` times.
ggml_tensor * continue_edges(ggml_context * ctx, ggml_tensor * x, int64_t before, int64_t after) {
    ggml_tensor * first = ggml_repeat_4d(ctx, rows_from(ctx, x, 0, 1), x->ne[0], before, 1, 1);
    ggml_tensor * last = ggml_repeat_4d(ctx, rows_from(ctx, x, x->ne[1] - 1, 1), x->ne[0], after, 1, 1);
    return ggml_concat(ctx, ggml_concat(ctx, first, x, 1), last, 1);
}

// The sum over taps of filter[tap] * (rows that `window` gives for the tap).
template <typename Window>
ggml_tensor * filtered(ggml_context * ctx, ggml_tensor * filter, int64_t first_tap, int64_t tap_step,
                       Window && window) {
    ggml_tensor * sum = nullptr;
    for (int64_t tap = first_tap, i = 0; tap < kSnakeFilterTaps; tap += tap_step, ++i) {
        ggml_tensor * weight = ggml_view_1d(ctx, filter, 1, static_cast<size_t>(tap) * filter->nb[0]);
        ggml_tensor * term = ggml_mul(ctx, window(i), weight);
        sum = sum ? ggml_add(ctx, sum, term) : term;
    }
    return sum;
}

// The definition of the result, from stock operations.
ggml_tensor * snake_composed(ggml_context * ctx, ggml_tensor * x, ggml_tensor * alpha, ggml_tensor * beta,
                             ggml_tensor * up, ggml_tensor * down) {
    const int64_t channels = x->ne[0];
    const int64_t length = x->ne[1];
    ggml_tensor * padded = continue_edges(ctx, x, 3, 3);
    ggml_tensor * even = filtered(ctx, up, 1, 2, [&](int64_t q) { return rows_from(ctx, padded, 5 - q, length); });
    ggml_tensor * odd = filtered(ctx, up, 0, 2, [&](int64_t q) { return rows_from(ctx, padded, 6 - q, length); });
    ggml_tensor * u = ggml_concat(ctx, ggml_reshape_3d(ctx, even, channels, 1, length),
                                  ggml_reshape_3d(ctx, odd, channels, 1, length), 1);
    u = ggml_scale(ctx, ggml_reshape_2d(ctx, u, channels, 2 * length), 2.0f);
    ggml_tensor * wave = ggml_sqr(ctx, ggml_sin(ctx, ggml_mul(ctx, u, ggml_exp(ctx, alpha))));
    ggml_tensor * s = ggml_add(ctx, u, ggml_div(ctx, wave, ggml_scale_bias(ctx, ggml_exp(ctx, beta), 1.0f, 1e-9f)));
    s = continue_edges(ctx, s, 5, 6);
    return filtered(ctx, down, 0, 1, [&](int64_t j) { return rows_from(ctx, s, j, length, 2); });  // ne: [C, T]
}

}  // namespace

ggml_tensor * antialiased_snake(Graph & graph, ggml_tensor * x, ggml_tensor * alpha, ggml_tensor * beta,
                                ggml_tensor * up, ggml_tensor * down) {
    expect_rows("antialiased_snake", "x", x, GGML_TYPE_F32, {kAny, kAny, 1, 1});
    expect_rows("antialiased_snake", "alpha", alpha, GGML_TYPE_F32, {x->ne[0], 1, 1, 1});
    expect_rows("antialiased_snake", "beta", beta, GGML_TYPE_F32, {x->ne[0], 1, 1, 1});
    expect_rows("antialiased_snake", "up", up, GGML_TYPE_F32, {kSnakeFilterTaps, 1, 1, 1});
    expect_rows("antialiased_snake", "down", down, GGML_TYPE_F32, {kSnakeFilterTaps, 1, 1, 1});
    if (!ggml_is_contiguous(x)) {
        throw ShapeError("antialiased_snake: x must be contiguous");
    }
    if (!graph.fuses("antialiased_snake")) {
        return snake_composed(graph.ctx(), x, alpha, beta, up, down);
    }
    return custom_node(graph, GGML_TYPE_F32, {x->ne[0], x->ne[1], 1, 1}, {x, alpha, beta, up, down},
                       &antialiased_snake_cpu);
}

}  // namespace ltx
