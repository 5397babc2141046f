#include "weights/placement.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace ltx {

namespace {

size_t round_up(size_t size, size_t alignment) {
    return (size + alignment - 1) / alignment * alignment;
}

}  // namespace

void set_layout(ggml_tensor * tensor, ggml_type type, const std::array<int64_t, GGML_MAX_DIMS> & ne) {
    tensor->type = type;
    std::ranges::copy(ne, tensor->ne);
    tensor->nb[0] = ggml_type_size(type);
    tensor->nb[1] = ggml_row_size(type, tensor->ne[0]);
    for (int i = 2; i < GGML_MAX_DIMS; ++i) {
        tensor->nb[i] = tensor->nb[i - 1] * static_cast<size_t>(tensor->ne[i - 1]);
    }
}

ggml_backend_buffer_ptr place_on(ggml_backend_buffer_type_t type, const std::vector<ggml_tensor *> & tensors,
                                 ggml_backend_buffer_usage usage) {
    const auto placed_bytes = [&](const ggml_tensor * tensor) {
        return round_up(ggml_backend_buft_get_alloc_size(type, tensor), ggml_backend_buft_get_alignment(type));
    };
    size_t size = 0;
    for (const ggml_tensor * tensor : tensors) {
        size += placed_bytes(tensor);
    }
    ggml_backend_buffer_ptr buffer(ggml_backend_buft_alloc_buffer(type, size));
    if (!buffer) {
        return nullptr;
    }
    ggml_backend_buffer_set_usage(buffer.get(), usage);
    auto * address = static_cast<std::byte *>(ggml_backend_buffer_get_base(buffer.get()));
    for (ggml_tensor * tensor : tensors) {
        ggml_backend_tensor_alloc(buffer.get(), tensor, address);
        address += placed_bytes(tensor);
    }
    return buffer;
}

ggml_backend_buffer_ptr place_nowhere(const std::vector<ggml_tensor *> & tensors, ggml_backend_buffer_usage usage) {
    // The first page, which no process has; every alignment that a device asks for divides it.
    constexpr size_t kAlignment = 4096;
    auto * address = reinterpret_cast<std::byte *>(kAlignment);
    size_t size = 0;
    for (const ggml_tensor * tensor : tensors) {
        size += round_up(ggml_nbytes(tensor), kAlignment);
    }
    ggml_backend_buffer_ptr buffer(ggml_backend_cpu_buffer_from_ptr(address, size));
    ggml_backend_buffer_set_usage(buffer.get(), usage);
    for (ggml_tensor * tensor : tensors) {
        ggml_backend_tensor_alloc(buffer.get(), tensor, address);
        address += round_up(ggml_nbytes(tensor), kAlignment);
    }
    return buffer;
}

}  // namespace ltx
