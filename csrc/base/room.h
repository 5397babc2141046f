// Room for calls into code that ends the process where an allocation fails.
#pragma once

#include <cstddef>

namespace ltx {

// Throws std::bad_alloc unless the process may take `bytes` more now. Nothing is kept: the call that follows on the
// same thread finds the room, as long as no other thread takes it in between.
void require_room(size_t bytes);

}  // namespace ltx
