// Which kernels the hooks of the test suite run for fused operations.
#pragma once

#include <string>

struct ggml_tensor;

namespace ltx::bindings {

struct KernelsUnderTest {
    std::string device = "cpu";           // of fused operations
    std::string composed_device = "cpu";  // of composed ones
    bool emulated_cuda = false;           // the CUDA kernels, run on the CPU by tests/emulated_cuda
};

KernelsUnderTest & kernels_under_test();

// Exchanges the kernels of the custom nodes behind `result` for emulated ones where those are under test. Throws
// UnsupportedError for a node that they do not support. Returns `result`.
ggml_tensor * under_test(ggml_tensor * result);

}  // namespace ltx::bindings
