#include "weights/placeholder.h"

#include <cstddef>
#include <cstdint>

namespace ltx {

ggml_backend_buffer_ptr place_nowhere(const std::vector<ggml_tensor *> & tensors, ggml_backend_buffer_usage usage) {
    // The first page, which no process has; every alignment that a device asks for divides it.
    constexpr size_t kAlignment = 4096;
    auto * const base = reinterpret_cast<std::byte *>(kAlignment);
    const auto padded = [](const ggml_tensor * tensor) {
        return (ggml_nbytes(tensor) + kAlignment - 1) / kAlignment * kAlignment;
    };
    size_t size = 0;
    for (const ggml_tensor * tensor : tensors) {
        size += padded(tensor);
    }
    ggml_backend_buffer_ptr buffer(ggml_backend_cpu_buffer_from_ptr(base, size));
    ggml_backend_buffer_set_usage(buffer.get(), usage);
    size_t offset = 0;
    for (ggml_tensor * tensor : tensors) {
        ggml_backend_tensor_alloc(buffer.get(), tensor, base + offset);
        offset += padded(tensor);
    }
    return buffer;
}

}  // namespace ltx
