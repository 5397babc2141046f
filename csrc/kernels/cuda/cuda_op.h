// How an own operation runs on CUDA: what its cuda.cu defines and what ggml's hook calls.
#pragma once

#include "kernels/custom.h"

struct CUstream_st;

namespace ltx {

// What a launcher works with. It may only enqueue on the stream: calls are recorded into CUDA graphs, so it neither
// allocates (scratch comes from ggml's pool, kernels/cuda/scratch.h) nor waits, and everything it reads besides tensors
// is in the node.
struct CudaCall {
    void * context;        // ggml's context of the backend
    CUstream_st * stream;  // a cudaStream_t
};

// Compute capability from which there are BF16 matrix instructions and asynchronous copies.
inline constexpr int kTensorCoreMajor = 8;

struct CudaOp {
    CustomKernel cpu;  // the operation's identity
    // Whether `launch` computes this node; where not, the graph is built from stock operations.
    bool (*supports)(const ggml_tensor * node);
    // Throws BackendError when the device refuses the launch.
    void (*launch)(const CudaCall & call, ggml_tensor * node);
    // Whether it uses kernels/cuda/tensor_core.cuh.
    bool needs_tensor_cores = false;
};

// The function for ggml's hook (third_party/ggml/patch_ggml.py): with a context it enqueues the node, without one it
// says whether it would. Answers false for nodes that are not ours or not supported.
bool run_cuda_op(void * context, void * stream, int device, ggml_tensor * node);

}  // namespace ltx
