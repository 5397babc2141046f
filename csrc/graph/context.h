// The memory in which ggml describes tensors and graphs.
#pragma once

#include <cstddef>
#include <memory>

#include "ggml-cpp.h"
#include "ggml.h"

namespace ltx {

// A ggml context over memory of our own, so that too little of it is std::bad_alloc; ggml would end the process. Holds
// descriptions; what they describe lies in buffers of a device.
class Context {
public:
    Context() = default;

    // Room for `bytes` of descriptions (ggml_tensor_overhead, ggml_graph_overhead_custom). Throws std::bad_alloc.
    explicit Context(size_t bytes);

    ggml_context * get() const { return context_.get(); }

private:
    std::unique_ptr<std::byte[]> memory_;
    ggml_context_ptr context_;
};

}  // namespace ltx
