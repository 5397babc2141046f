// What kernels/cuda/device.cu takes of ggml's header of this name.
#pragma once

#include <cuda_runtime.h>

// ggml may have more devices than there are cards (GGML_CUDA_DEVICES), and deals them out in turn.
inline void ggml_cuda_set_device(int device) {
    cudaSetDevice(device % static_cast<int>(emulated::cards().size()));
}
