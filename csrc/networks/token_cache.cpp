#include "networks/token_cache.h"

#include <algorithm>
#include <atomic>

#include "base/error.h"
#include "weights/placement.h"

namespace ltx {

namespace {

// Attention reads hidden rows too, and a graph is built anew for every so many tokens.
constexpr int64_t kRowStep = 256;

std::string next_name() {
    static std::atomic<uint64_t> count{0};
    return "cache " + std::to_string(++count);
}

}  // namespace

TokenCache::TokenCache(std::shared_ptr<Backend> backend, const std::vector<int64_t> & widths, ggml_type type,
                       int64_t capacity, bool measuring)
    : backend_(std::move(backend)),
      ctx_(2 * widths.size() * ggml_tensor_overhead()),
      capacity_(capacity),
      name_(next_name()) {
    std::vector<ggml_tensor *> tensors;
    for (const int64_t width : widths) {
        const LayerCache layer{ggml_new_tensor_2d(ctx_.get(), type, width, capacity),
                               ggml_new_tensor_2d(ctx_.get(), type, width, capacity)};
        layers_.push_back(layer);
        tensors.insert(tensors.end(), {layer.keys, layer.values});
    }
    if (measuring) {
        buffer_ = place_nowhere(tensors, GGML_BACKEND_BUFFER_USAGE_ANY);
        return;
    }
    buffer_ = place_on(backend_->buffer_type(), tensors, GGML_BACKEND_BUFFER_USAGE_ANY);
    if (!buffer_) {
        throw DeviceMemoryError("the keys and values of ", capacity, " tokens do not fit on device '", backend_->name(),
                                "'");
    }
    ggml_backend_buffer_clear(buffer_.get(), 0);
}

bool TokenCache::fits(const std::vector<int64_t> & widths, ggml_type type) const {
    return std::ranges::equal(layers_, widths, [&](const LayerCache & layer, int64_t width) {
        return layer.keys->ne[0] == width && layer.keys->type == type;
    });
}

size_t TokenCache::size_bytes() const {
    size_t total = 0;
    for (const LayerCache & layer : layers_) {
        total += ggml_nbytes(layer.keys) + ggml_nbytes(layer.values);
    }
    return total;
}

int64_t TokenCache::rows_for(int64_t tokens) const {
    return std::min(capacity_, (tokens + kRowStep - 1) / kRowStep * kRowStep);
}

}  // namespace ltx
