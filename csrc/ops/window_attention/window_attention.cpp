#include "ops/window_attention/window_attention.h"

#include "base/error.h"

namespace ltx {

namespace {

void expect_grid(const char * argument, const ggml_tensor * tensor, int64_t channels, const ggml_tensor * like,
                 int64_t width) {
    expect_rows("window_attention", argument, tensor, GGML_TYPE_F32, {channels, width, like->ne[2], like->ne[3]});
    if (!cells_are_even(tensor)) {
        throw ShapeError("window_attention: the cells of ", argument, " do not lie evenly apart");
    }
}

}  // namespace

ggml_tensor * window_attention(Graph & graph, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v, int64_t head_dim,
                               GridSize window) {
    const int64_t channels = q->ne[0];
    const int64_t margin = k->ne[1] == q->ne[1] ? 0 : window.width - 1;
    expect_grid("q", q, channels, q, q->ne[1]);
    expect_grid("k", k, channels, q, q->ne[1] + margin);
    expect_grid("v", v, channels, q, q->ne[1] + margin);
    if (head_dim < 8 || head_dim % 8 != 0 || channels % head_dim != 0) {
        throw ShapeError("window_attention: rows of ", channels, " do not divide into heads of ", head_dim,
                         " elements, a multiple of 8");
    }
    if (window.time < 1 || window.height < 1 || window.width < 1 || q->ne[3] < window.time ||
        q->ne[2] < window.height || k->ne[1] < window.width) {
        throw ShapeError("window_attention: a window of ", window.time, " x ", window.height, " x ", window.width,
                         " does not fit into a grid of ", q->ne[3], " x ", q->ne[2], " x ", k->ne[1]);
    }
    if (graph.form() == OpForm::Composed) {
        throw UnsupportedError("window_attention: has no form of stock operations; the device has to run our own");
    }
    return custom_node_with(graph, GGML_TYPE_F32, {channels, q->ne[1], q->ne[2], q->ne[3]}, {q, k, v},
                            &window_attention_cpu, WindowAttentionConstants{window, static_cast<int32_t>(head_dim)});
}

}  // namespace ltx
