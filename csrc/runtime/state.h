// Tensors that keep their values between runs.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>

#include "graph/context.h"
#include "runtime/backend.h"

namespace ltx {

// Tensors lie in buffers of their own, so graphs may refer to them by address until clear().
class StateStore {
public:
    // `measuring`: nothing is allocated; graphs over the tensors can be measured and not run.
    explicit StateStore(std::shared_ptr<Backend> backend, bool measuring = false)
        : backend_(std::move(backend)), measuring_(measuring) {}

    // Makes the tensor, contents undefined, or gives it again; then `type` and `ne` must be those of before.
    // Throws DeviceMemoryError.
    ggml_tensor * make(const std::string & name, ggml_type type, const std::array<int64_t, 4> & ne);

    // A tensor that make() made.
    ggml_tensor * get(const std::string & name) const;

    size_t size_bytes() const;

    void clear() { entries_.clear(); }

private:
    struct Entry {
        Context ctx;
        ggml_backend_buffer_ptr buffer;
        ggml_tensor * tensor;
    };

    std::shared_ptr<Backend> backend_;
    bool measuring_;
    std::map<std::string, Entry> entries_;
};

}  // namespace ltx
