// Which kernels the hooks of the test suite run for fused operations.
#pragma once

#include <string>

#include "runtime/backend.h"

namespace ltx::bindings {

struct KernelsUnderTest {
    std::string device = "cpu";           // of fused operations
    std::string composed_device = "cpu";  // of composed ones
    bool emulated_cuda = false;           // the CUDA kernels, run on the CPU by tests/emulated_cuda
    bool bf16 = true;                     // false: fused operations as on a CPU without BF16 instructions
};

KernelsUnderTest & kernels_under_test();

// A CPU that runs the CUDA kernels. Throws UnsupportedError for nodes that they do not support; results that a kernel
// leaves unwritten are not numbers.
DeviceTraits emulated_cuda();

}  // namespace ltx::bindings
