#include "graph/context.h"

#include "base/room.h"

namespace ltx {

Context::Context(size_t bytes) {
    // Left as it is, because most graphs use a small part of their memory.
    memory_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
    require_room(0);  // for the object that ggml makes
    context_.reset(ggml_init({.mem_size = bytes, .mem_buffer = memory_.get(), .no_alloc = true}));
}

}  // namespace ltx
