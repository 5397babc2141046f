#include "device_memory.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "ggml-backend-impl.h"

namespace emulated {

namespace {

constexpr size_t kAlignment = 128;
// Elements that rows are read in steps of.
constexpr int64_t kRowStep = 512;

struct Memory {
    std::byte * bytes;
    std::vector<std::pair<std::byte *, size_t>> zeroes;  // that are under way
};

Memory & memory_of(ggml_backend_buffer_t buffer) {
    return *static_cast<Memory *>(buffer->context);
}

std::byte * bytes_of(const ggml_tensor * tensor) {
    return static_cast<std::byte *>(tensor->data);
}

void finish_zeroes(Memory & memory) {
    for (const auto & [begin, size] : memory.zeroes) {
        std::memset(begin, 0, size);
    }
    memory.zeroes.clear();
}

void free_buffer(ggml_backend_buffer_t buffer) {
    std::free(memory_of(buffer).bytes);
    delete &memory_of(buffer);
}

void * base_of(ggml_backend_buffer_t buffer) {
    return memory_of(buffer).bytes;
}

ggml_status place(ggml_backend_buffer_t buffer, ggml_tensor * tensor) {
    const size_t bytes = ggml_nbytes(tensor);
    const size_t room = ggml_backend_buft_get_alloc_size(buffer->buft, tensor);
    if (room > bytes) {
        memory_of(buffer).zeroes.emplace_back(bytes_of(tensor) + bytes, room - bytes);
    }
    return GGML_STATUS_SUCCESS;
}

void write(ggml_backend_buffer_t, ggml_tensor * tensor, const void * data, size_t offset, size_t size) {
    std::memcpy(bytes_of(tensor) + offset, data, size);
}

void read(ggml_backend_buffer_t buffer, const ggml_tensor * tensor, void * data, size_t offset, size_t size) {
    finish_zeroes(memory_of(buffer));
    std::memcpy(data, bytes_of(tensor) + offset, size);
}

void clear(ggml_backend_buffer_t buffer, uint8_t value) {
    finish_zeroes(memory_of(buffer));
    std::memset(memory_of(buffer).bytes, value, buffer->size);
}

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t size) {
    const size_t whole = (size + kAlignment - 1) / kAlignment * kAlignment;
    auto * memory = new Memory{static_cast<std::byte *>(std::aligned_alloc(kAlignment, whole)), {}};
    std::memset(memory->bytes, 0xff, whole);
    ggml_backend_buffer_i functions{};
    functions.free_buffer = &free_buffer;
    functions.get_base = &base_of;
    functions.init_tensor = &place;
    functions.set_tensor = &write;
    functions.get_tensor = &read;
    functions.clear = &clear;
    return ggml_backend_buffer_init(type, functions, memory, size);
}

size_t room_for(ggml_backend_buffer_type_t, const ggml_tensor * tensor) {
    const int64_t beyond = tensor->ne[0] % kRowStep;
    const bool padded = ggml_is_quantized(tensor->type) && beyond != 0;
    return ggml_nbytes(tensor) + (padded ? ggml_row_size(tensor->type, kRowStep - beyond) : 0);
}

}  // namespace

ggml_backend_buffer_type_t device_memory() {
    static ggml_backend_buffer_type type = [] {
        ggml_backend_buffer_type result{};
        result.iface.get_name = [](ggml_backend_buffer_type_t) { return "emulated device memory"; };
        result.iface.alloc_buffer = &allocate;
        result.iface.get_alignment = [](ggml_backend_buffer_type_t) { return kAlignment; };
        result.iface.get_alloc_size = &room_for;
        return result;
    }();
    return &type;
}

}  // namespace emulated
