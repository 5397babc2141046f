#include "models/diffusion_decoder/cells.h"

#include <algorithm>

#include "graph/parts.h"

namespace ltx {

ggml_tensor * rms(Graph & graph, ggml_tensor * x, ggml_tensor * weight) {
    return ggml_mul(graph.ctx(), ggml_rms_norm(graph.ctx(), x, kEps), weight);
}

ggml_tensor * over_cells(Graph & graph, ggml_tensor * x, int64_t channels,
                         const std::function<ggml_tensor *(ggml_tensor * cells)> & layers) {
    Parts result(graph, graph.unwritten(GGML_TYPE_F32, {channels, x->ne[1], x->ne[2], x->ne[3]}));
    for_pieces(cells_of(x), piece_of(x, std::max(x->ne[0], channels), kMaxPieces), [&](int64_t first, int64_t count) {
        result.write_rows(layers(rows_of_cells(graph, x, first, count)), first);
    });
    return result.all();
}

ggml_tensor * frames_of(Graph & graph, ggml_tensor * x, int64_t first, int64_t count) {
    return ggml_view_4d(graph.ctx(), x, x->ne[0], x->ne[1], x->ne[2], count, x->nb[1], x->nb[2], x->nb[3],
                        static_cast<size_t>(first) * x->nb[3]);
}

int64_t cells_of(const ggml_tensor * x) {
    return x->ne[1] * x->ne[2] * x->ne[3];
}

int64_t piece_of(const ggml_tensor * x, int64_t width, int64_t most) {
    const int64_t row_bytes = width * static_cast<int64_t>(sizeof(float));
    return std::max(kPieceBytes / row_bytes, (cells_of(x) + most - 1) / most);
}

}  // namespace ltx
