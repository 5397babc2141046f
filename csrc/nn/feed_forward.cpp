#include "nn/feed_forward.h"

namespace ltx {

FeedForward FeedForward::load(const Scope & scope, int64_t width, bool with_bias) {
    return {Linear::load(scope.at("net.0.proj"), width, 4 * width, with_bias),
            Linear::load(scope.at("net.2"), 4 * width, width, with_bias)};
}

ggml_tensor * FeedForward::build(Graph & graph, ggml_tensor * x, const LinearEpilogue & epilogue) const {
    ggml_tensor * hidden = up.build(graph, x, {.gelu = true, .for_products = true});  // ne: [4 * width, tokens]
    return down.build(graph, hidden, epilogue);
}

}  // namespace ltx
