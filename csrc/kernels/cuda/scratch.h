// Memory and library handles of the backend that a launcher may use while it enqueues.
#pragma once

#include <cstddef>

#include "kernels/cuda/cuda_op.h"

namespace ltx::cuda {

// Device memory from ggml's pool, which hands it to the next operation on the same stream. Freed in reverse order.
class Scratch {
public:
    Scratch(const CudaCall & call, size_t bytes);
    ~Scratch();
    Scratch(const Scratch &) = delete;
    Scratch & operator=(const Scratch &) = delete;

    template <typename T>
    T * as() const {
        return static_cast<T *>(data_);
    }

private:
    void * context_;
    void * data_ = nullptr;
    size_t held_ = 0;
};

}  // namespace ltx::cuda
