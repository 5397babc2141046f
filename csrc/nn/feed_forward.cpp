#include "nn/feed_forward.h"

#include "ops/bias_gelu/bias_gelu.h"

namespace ltx {

FeedForward FeedForward::load(const Scope & scope, int64_t width, bool with_bias) {
    return {Linear::load(scope.at("net.0.proj"), width, 4 * width, with_bias),
            Linear::load(scope.at("net.2"), 4 * width, width, with_bias)};
}

ggml_tensor * FeedForward::build(Graph & graph, ggml_tensor * x) const {
    ggml_tensor * hidden = bias_gelu(graph, up.build_product(graph, x), up.bias);  // ne: [4 * width, tokens]
    return down.build(graph, hidden);
}

}  // namespace ltx
