// How an own operation runs on CUDA: what its cuda.cu defines and what ggml's hook calls.
#pragma once

#include "kernels/custom.h"

struct CUstream_st;
struct ggml_backend;

namespace ltx {

// What a launcher works with. It may only enqueue on the stream: calls are recorded into CUDA graphs, so it neither
// allocates (scratch comes from ggml's pool, kernels/cuda/scratch.h) nor waits, and everything it reads besides tensors
// is in the node.
struct CudaCall {
    void * context;        // ggml's context of the backend
    CUstream_st * stream;  // a cudaStream_t
};

// Compute capability, times ten, from which there are BF16 matrix instructions and asynchronous copies.
inline constexpr int kTensorCoreCode = 80;

struct CudaOp {
    CustomKernel cpu;  // the operation's identity
    // Whether `launch` computes this node; where not, the graph is built from stock operations.
    bool (*supports)(const ggml_tensor * node);
    // Throws BackendError when the device refuses the launch.
    void (*launch)(const CudaCall & call, ggml_tensor * node);
    // Whether it uses kernels/cuda/tensor_core.cuh.
    bool needs_tensor_cores = false;
    // The most that `launch` takes from the pool at a time; null: nothing.
    size_t (*scratch_bytes)(const ggml_tensor * node) = nullptr;
};

// The function for ggml's hook (third_party/ggml/patch_ggml.py): with a context it enqueues the node, without one it
// says whether it would. Answers false for nodes that are not ours or not supported. What a launcher throws is kept
// (keep_failure) and the node counts as done: a graph may be in recording.
bool run_cuda_op(void * context, void * stream, int device, ggml_tensor * node);

// Forgets what a backend recorded: after a failure a graph lacks nodes, and would be replayed without them.
void drop_recorded_graphs(ggml_backend * backend);

// What `launch` takes from the pool at a time for a node.
size_t cuda_scratch_bytes(const ggml_tensor * node);

// Lets the pool of a backend hold `bytes`, of which it holds `held`; false where the device has no such memory left.
// The pool itself would end the process.
bool reserve_cuda_scratch(ggml_backend * backend, size_t bytes, size_t held);

}  // namespace ltx
