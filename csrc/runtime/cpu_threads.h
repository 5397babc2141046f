// The threads that compute graphs on the CPU.
#pragma once

#include "base/stopping.h"
#include "ggml-cpu.h"
#include "kernels/custom.h"
#include "kernels/gemm/scratch.h"

namespace ltx {

// ggml's threads, made once: left to itself it makes them anew for each graph, and ends the process where one cannot be
// started. They sleep between graphs.
class CpuThreads {
public:
    // They end computations early when `stop` is set. Throws DeviceMemoryError where the system does not start so many,
    // std::bad_alloc.
    CpuThreads(int count, const StopRequest & stop);
    ~CpuThreads();
    CpuThreads(const CpuThreads &) = delete;
    CpuThreads & operator=(const CpuThreads &) = delete;

    // False in a process that was forked off: threads stay behind.
    bool are_here() const;

    // Computes and waits. Throws Cancelled when the process or the device is stopping, what kernels of ours threw,
    // BackendError.
    void compute(ggml_cgraph * graph);

private:
    void greet();
    ggml_status run(ggml_cgraph * graph);

    int count_;
    const StopRequest & stop_;
    int process_;
    ggml_threadpool_t pool_ = nullptr;
    KernelFailure failure_;
    AlignedMemory work_;
};

}  // namespace ltx
