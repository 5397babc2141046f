#include "nn/kept_tokens.h"

namespace ltx {

HeadInputs keep_tokens(Graph & graph, const LayerCache & cache, int64_t length, ggml_tensor * positions,
                       HeadInputs in) {
    ggml_context * ctx = graph.ctx();
    // x: F32 [head_dim, heads, tokens] -> [head_dim, heads, length]
    const auto kept = [&](ggml_tensor * rows, ggml_tensor * x) {
        ggml_tensor * written = ggml_set_rows(ctx, rows, ggml_reshape_2d(ctx, x, rows->ne[0], x->ne[2]), positions);
        const size_t head_bytes = ggml_row_size(rows->type, x->ne[0]);
        return ggml_view_3d(ctx, written, x->ne[0], x->ne[1], length, head_bytes, rows->nb[1], 0);
    };
    in.new_k = in.k;
    in.new_v = in.v;
    in.k = kept(cache.keys, in.k);
    in.v = kept(cache.values, in.v);
    return in;
}

}  // namespace ltx
