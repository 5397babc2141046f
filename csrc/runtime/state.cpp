#include "runtime/state.h"

#include <algorithm>

#include "base/error.h"
#include "weights/placement.h"

namespace ltx {

ggml_tensor * StateStore::make(const std::string & name, ggml_type type, const std::array<int64_t, 4> & ne) {
    if (const auto found = entries_.find(name); found != entries_.end()) {
        const ggml_tensor * tensor = found->second.tensor;
        if (tensor->type != type || !std::ranges::equal(tensor->ne, ne)) {
            throw Error("state '", name, "' is asked for in two shapes");
        }
        return found->second.tensor;
    }
    Entry entry;
    entry.ctx = Context(ggml_tensor_overhead());
    entry.tensor = ggml_new_tensor(entry.ctx.get(), type, GGML_MAX_DIMS, ne.data());
    if (measuring_) {
        entry.buffer = place_nowhere({entry.tensor}, GGML_BACKEND_BUFFER_USAGE_ANY);
    } else {
        entry.buffer = place_on(backend_->buffer_type(), {entry.tensor}, GGML_BACKEND_BUFFER_USAGE_ANY);
    }
    if (!entry.buffer) {
        throw DeviceMemoryError("the frames kept between chunks do not fit on device '", backend_->name(),
                                "'; use a smaller picture");
    }
    return entries_.emplace(name, std::move(entry)).first->second.tensor;
}

ggml_tensor * StateStore::get(const std::string & name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) {
        throw Error("state '", name, "' is read before it is written");
    }
    return found->second.tensor;
}

size_t StateStore::size_bytes() const {
    size_t total = 0;
    for (const auto & [name, entry] : entries_) {
        total += ggml_nbytes(entry.tensor);
    }
    return total;
}

}  // namespace ltx
