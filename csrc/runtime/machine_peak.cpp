#include "runtime/machine_peak.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/gemm/gemm.h"
#include "kernels/int8/int8.h"
#include "runtime/runner.h"

namespace ltx {

namespace {

constexpr int kRepeats = 7;
constexpr int64_t kCopyElements = 1 << 26;
// The product of the graph: small enough for the caches of a CPU, large enough to fill a GPU.
constexpr int64_t kCpuSide = 1024;
constexpr int64_t kDeviceSide = 4096;
// The product of our own kernel: packed columns fill kPackedBytes.
constexpr int64_t kDepth = 512;
constexpr int64_t kCols = kPackedBytes / (kDepth * static_cast<int64_t>(sizeof(Bf16)));
constexpr int kRounds = 512;

double fastest_seconds(const std::function<void()> & call) {
    call();
    double best = std::numeric_limits<double>::infinity();
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
        const auto start = std::chrono::steady_clock::now();
        call();
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
}

struct alignas(64) CacheLine {
    std::byte bytes[64];
};

template <typename T>
struct Buffer {
    explicit Buffer(int64_t count) : lines(static_cast<size_t>(count) * sizeof(T) / sizeof(CacheLine) + 1) {}
    T * get() { return reinterpret_cast<T *>(lines.data()); }
    std::vector<CacheLine> lines;
};

// All threads multiply the same block of rows by columns of their own, all of it in the caches.
double kernel_peak(const GemmKernel & kernel, int threads) {
    const auto multiply = [&](int64_t begin, int64_t end) {
        for (int64_t thread = begin; thread < end; ++thread) {
            Buffer<Bf16> weights(kCols * kDepth), packed(kCols * kDepth), x(kGemmRows * kDepth);
            Buffer<float> sums(kGemmRows * kCols);
            kernel.pack(weights.get(), kDepth, kCols, kDepth, {packed.get(), kDepth});
            const GemmSegment segment{x.get(), kDepth};
            const GemmScope scope(kernel);
            for (int round = 0; round < kRounds; ++round) {
                kernel.multiply({.segments = {&segment, 1},
                                 .row_stride = kDepth,
                                 .rows = kGemmRows,
                                 .packed = packed.get(),
                                 .cols = kCols,
                                 .sums = sums.get(),
                                 .sums_stride = kCols,
                                 .add = false});
            }
        }
    };
    const double flop = 2.0 * kGemmRows * kCols * kDepth * kRounds * threads;
    return flop / fastest_seconds([&] { parallel_for(threads, threads, multiply); });
}

// The same for integers, of the shape that our products give a kernel.
double int8_kernel_peak(const Int8Kernel & kernel, int threads) {
    constexpr int64_t kIntegerCols = 256;
    constexpr int64_t kIntegerDepth = kInt8Panel.depth;
    const auto multiply = [&](int64_t begin, int64_t end) {
        for (int64_t thread = begin; thread < end; ++thread) {
            Buffer<int8_t> weights(kIntegerCols * kIntegerDepth), x(kInt8Rows * kIntegerDepth);
            Buffer<std::byte> packed(kIntegerCols * kIntegerDepth * kInt8PackedBytes), scratch(kInt8ScratchBytes);
            Buffer<int32_t> sums(kInt8Rows * kIntegerCols);
            kernel.pack(weights.get(), kIntegerDepth, kIntegerCols, kIntegerDepth, packed.get());
            const Int8Scope scope(kernel);
            for (int round = 0; round < kRounds; ++round) {
                kernel.multiply({.x = x.get(),
                                 .row_stride = kIntegerDepth,
                                 .rows = kernel.rows,
                                 .packed = packed.get(),
                                 .cols = kIntegerCols,
                                 .depth = kIntegerDepth,
                                 .sums = sums.get(),
                                 .sums_stride = kIntegerCols,
                                 .add = false,
                                 .scratch = scratch.get()});
            }
        }
    };
    const auto rows = static_cast<double>(kernel.rows);
    const double operations = 2.0 * rows * kIntegerCols * kIntegerDepth * kRounds * threads;
    return operations / fastest_seconds([&] { parallel_for(threads, threads, multiply); });
}

double product_rate(const std::shared_ptr<Backend> & backend, int64_t side) {
    Runner runner(backend);
    runner.prepare("product", {}, [&](Graph & graph) {
        ggml_tensor * weights = graph.input("weights", backend->fast_half_type(), {side, side, 1, 1});
        ggml_tensor * x = graph.input("x", GGML_TYPE_F32, {side, side, 1, 1});
        graph.output("y", ggml_mul_mat(graph.ctx(), weights, x));
    });
    runner.set("weights", std::vector<Bf16>(static_cast<size_t>(side * side)).data(), sizeof(Bf16) * side * side);
    runner.set("x", std::vector<float>(static_cast<size_t>(side * side)));
    const auto length = static_cast<double>(side);
    return 2.0 * length * length * length / fastest_seconds([&] { runner.compute(); });
}

double graph_peak(const std::shared_ptr<Backend> & backend) {
    // A device that computes on the CPU would take minutes for what fills a card.
    constexpr double kLeastOfCards = 1e11;
    const double rate = product_rate(backend, kCpuSide);
    return backend->is_cpu() || rate < kLeastOfCards ? rate : product_rate(backend, kDeviceSide);
}

double copy_rate(const std::shared_ptr<Backend> & backend, int64_t elements) {
    Runner runner(backend);
    runner.prepare("copy", {}, [&](Graph & graph) {
        ggml_tensor * x = graph.input("x", GGML_TYPE_F32, {1024, elements / 1024, 1, 1});
        graph.output("y", ggml_dup(graph.ctx(), x));
    });
    runner.set("x", std::vector<float>(static_cast<size_t>(elements)));
    return 2.0 * sizeof(float) * static_cast<double>(elements) / fastest_seconds([&] { runner.compute(); });
}

double copy_peak(const std::shared_ptr<Backend> & backend) {
    try {
        return copy_rate(backend, kCopyElements);
    } catch (const UnsupportedError &) {
        // Every device of Vulkan takes tensors of 128 MiB, and some no larger ones.
        return copy_rate(backend, kCopyElements / 4);
    }
}

}  // namespace

double measure_int8_peak(int threads) {
    return int8_kernel_peak(int8_kernel(kInt8Panel.depth), threads);
}

MachinePeak measure_peak(const std::shared_ptr<Backend> & backend) {
    double product = graph_peak(backend);
    if (const GemmKernel * kernel = backend->is_cpu() ? gemm_kernel() : nullptr) {
        product = std::max(product, kernel_peak(*kernel, backend->threads()));
    }
    return {product, copy_peak(backend)};
}

}  // namespace ltx
