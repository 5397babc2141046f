#include "graph/parts.h"

namespace ltx {

ggml_tensor * rows_of_cells(Graph & graph, ggml_tensor * x) {
    return rows_of_cells(graph, x, 0, x->ne[1] * x->ne[2] * x->ne[3]);
}

ggml_tensor * rows_of_cells(Graph & graph, ggml_tensor * x, int64_t first, int64_t count) {
    return ggml_view_2d(graph.ctx(), x, x->ne[0], count, x->nb[1], static_cast<size_t>(first) * x->nb[1]);
}

void Parts::write_rows(ggml_tensor * value, int64_t first, int64_t channel) {
    const size_t offset = static_cast<size_t>(first) * x_->nb[1] + static_cast<size_t>(channel) * x_->nb[0];
    write(value, ggml_view_2d(graph_.ctx(), x_, value->ne[0], value->ne[1], x_->nb[1], offset));
}

void Parts::write_channels(ggml_tensor * value, int64_t channel) {
    write(value, ggml_view_4d(graph_.ctx(), x_, value->ne[0], x_->ne[1], x_->ne[2], x_->ne[3], x_->nb[1], x_->nb[2],
                              x_->nb[3], static_cast<size_t>(channel) * x_->nb[0]));
}

void Parts::write(ggml_tensor * value, ggml_tensor * place) {
    // The write before is a source, which tells the allocator that it is not the last to look at the memory.
    place->src[1] = written_;
    written_ = ggml_cpy(graph_.ctx(), value, place);
    graph_.side_effect(written_);
}

ggml_tensor * Parts::all() const {
    ggml_tensor * all =
        ggml_view_4d(graph_.ctx(), x_, x_->ne[0], x_->ne[1], x_->ne[2], x_->ne[3], x_->nb[1], x_->nb[2], x_->nb[3], 0);
    all->src[1] = written_;
    return all;
}

}  // namespace ltx
