#include "ops/pixel_norm/pixel_norm.h"

namespace ltx {

ggml_tensor * pixel_norm_silu(Graph & graph, ggml_tensor * x, float eps) {
    expect_rows("pixel_norm_silu", "x", x, GGML_TYPE_F32, {kAny, kAny, kAny, kAny});
    if (!graph.fuses("pixel_norm_silu")) {
        return ggml_silu(graph.ctx(), ggml_rms_norm(graph.ctx(), x, eps));
    }
    return custom_node_with(graph, GGML_TYPE_F32, {x->ne[0], x->ne[1], x->ne[2], x->ne[3]}, {x}, &pixel_norm_silu_cpu,
                            PixelNormConstants{eps});
}

}  // namespace ltx
