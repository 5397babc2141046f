#include "ops/window_attention/window_attention.h"

#include "base/error.h"

namespace ltx {

ggml_tensor * window_attention(Graph & graph, ggml_tensor * qkv, int64_t head_dim, GridSize window, RowEnds ends) {
    expect_rows("window_attention", "qkv", qkv, GGML_TYPE_F32, {kAny, kAny, kAny, kAny});
    if (head_dim < 8 || head_dim % 8 != 0 || qkv->ne[0] % (3 * head_dim) != 0 || !ggml_is_contiguous(qkv)) {
        throw ShapeError("window_attention: rows of ", qkv->ne[0], " do not divide into three times heads of ",
                         head_dim, " elements, a multiple of 8");
    }
    const bool centred = ends == RowEnds::Centre;
    if (window.time < 1 || window.height < 1 || window.width < 1 || qkv->ne[3] < window.time ||
        qkv->ne[2] < window.height || qkv->ne[1] < window.width || (centred && window.width % 2 == 0)) {
        throw ShapeError("window_attention: a window of ", window.time, " x ", window.height, " x ", window.width,
                         " does not fit into a grid of ", qkv->ne[3], " x ", qkv->ne[2], " x ", qkv->ne[1]);
    }
    const int32_t margin = centred ? window.width / 2 : 0;
    if (!graph.fuses("window_attention")) {
        return window_attention_composed(graph, qkv, head_dim, window, margin);
    }
    ggml_tensor * all = custom_node_in_place_with(
        graph, {qkv}, &window_attention_cpu, WindowAttentionConstants{window, static_cast<int32_t>(head_dim), margin});
    return ggml_view_4d(graph.ctx(), all, qkv->ne[0] / 3, qkv->ne[1] - 2 * margin, qkv->ne[2], qkv->ne[3], all->nb[1],
                        all->nb[2], all->nb[3], static_cast<size_t>(margin) * all->nb[1]);
}

}  // namespace ltx
