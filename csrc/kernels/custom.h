// Own operations as custom graph nodes: constants, sources, the split of rows over threads, layout checks.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <mutex>
#include <string_view>
#include <type_traits>

#include "graph/graph.h"
#include "kernels/gemm/gemm.h"

namespace ltx {

// The CPU kernel of an operation, called on every thread. Its address in the node is the operation's identity, by which
// another device finds its own kernel (kernels/registry.h). The last argument is unused: what it points to would be
// frozen into recorded device graphs, so constants go into the node and everything else into tensors.
using CustomKernel = ggml_custom_op_t;

// ggml keeps a function, the thread count and a user pointer in the first 24 of a custom node's 64 parameter bytes. The
// function of our nodes is always the one that guards kernels, and the user pointer is the kernel.
inline constexpr size_t kKernelOffset = 16;
inline constexpr size_t kSourceTypesOffset = 12;  // in a gap of these
inline constexpr size_t kConstantsOffset = 24;
inline constexpr size_t kConstantsBytes = GGML_MAX_OP_PARAMS - kConstantsOffset;

// The kernel of a custom node; means nothing where the node is not ours.
inline CustomKernel kernel_of(const ggml_tensor * node) {
    CustomKernel kernel = nullptr;
    std::memcpy(&kernel, reinterpret_cast<const std::byte *>(node->op_params) + kKernelOffset, sizeof(kernel));
    return kernel;
}

// What kernels threw in a computation: no exception may leave the threads of ggml. The first one counts.
class KernelFailure {
public:
    bool is_set() const { return is_set_.load(std::memory_order_acquire); }

    // Keeps the exception that is being handled.
    void set_current();

    // Throws what is kept and forgets it; call when no kernel runs.
    void rethrow();

private:
    std::mutex mutex_;
    std::atomic<bool> is_set_{false};
    std::exception_ptr exception_;
};

// Kernels that run on this thread report there from now on. Every thread that computes graphs has to be told.
void report_failures_to(KernelFailure * failure);

// Keeps the exception that is being handled where this thread reports failures.
void keep_failure();

// A contiguous result over `sources` (at most 9, optional ones last; null ones are dropped) that all threads compute.
ggml_tensor * custom_node(Graph & graph, ggml_type type, std::array<int64_t, 4> ne,
                          std::initializer_list<ggml_tensor *> sources, CustomKernel kernel,
                          const void * constants = nullptr, size_t constants_bytes = 0);

// The first of `sources`, which must be contiguous, rewritten by the kernel in its own memory.
ggml_tensor * custom_node_in_place(Graph & graph, std::initializer_list<ggml_tensor *> sources, CustomKernel kernel,
                                   const void * constants = nullptr, size_t constants_bytes = 0);

// `constants`: plain values without padding, because devices compare the bytes.
template <typename Constants>
ggml_tensor * custom_node_with(Graph & graph, ggml_type type, std::array<int64_t, 4> ne,
                               std::initializer_list<ggml_tensor *> sources, CustomKernel kernel,
                               const Constants & constants) {
    static_assert(std::is_trivially_copyable_v<Constants> && sizeof(Constants) <= kConstantsBytes);
    return custom_node(graph, type, ne, sources, kernel, &constants, sizeof(Constants));
}

template <typename Constants>
ggml_tensor * custom_node_in_place_with(Graph & graph, std::initializer_list<ggml_tensor *> sources,
                                        CustomKernel kernel, const Constants & constants) {
    static_assert(std::is_trivially_copyable_v<Constants> && sizeof(Constants) <= kConstantsBytes);
    return custom_node_in_place(graph, sources, kernel, &constants, sizeof(Constants));
}

// The constants given to either.
template <typename Constants>
Constants constants_of(const ggml_tensor * node) {
    static_assert(std::is_trivially_copyable_v<Constants> && sizeof(Constants) <= kConstantsBytes);
    Constants constants;
    std::memcpy(&constants, reinterpret_cast<const std::byte *>(node->op_params) + kConstantsOffset, sizeof(Constants));
    return constants;
}

// The optional sources of a node from number `first` on, in the order of custom_node, which leaves out those that are
// not there.
class OptionalSources {
public:
    OptionalSources(const ggml_tensor * node, int first) : next_(node->src + first) {}

    // The next one, or null where it is not among them.
    ggml_tensor * take(bool present) { return present ? *next_++ : nullptr; }

private:
    ggml_tensor * const * next_;
};

// Elements between rows of rounded activations. Apart from a CPU's caches nothing wants them further apart than they
// are wide: it would only take alignment from them, and some products take no gaps.
inline int64_t rounded_row_stride(const Graph & graph, int64_t width) {
    return graph.on_cpu() && graph.operand_alignment() == 0 ? product_row_stride(width) : width;
}

// Rows of such a stride, seen as rows of `width`.
inline ggml_tensor * first_columns(Graph & graph, ggml_tensor * wide, int64_t width) {
    return wide->ne[0] == width ? wide : ggml_view_2d(graph.ctx(), wide, width, wide->ne[1], wide->nb[1], 0);
}

struct RowRange {
    int64_t begin;
    int64_t end;
};

// The share of one of `num_threads` threads.
inline RowRange rows_of_thread(int64_t rows, int thread, int num_threads) {
    return {rows * thread / num_threads, rows * (thread + 1) / num_threads};
}

// Row `index` of a matrix whose rows may lie apart.
inline float * row_of(const ggml_tensor * tensor, int64_t index) {
    return reinterpret_cast<float *>(static_cast<std::byte *>(tensor->data) +
                                     index * static_cast<int64_t>(tensor->nb[1]));
}

// The same for BF16.
inline uint16_t * bf16_row_of(const ggml_tensor * tensor, int64_t index) {
    return reinterpret_cast<uint16_t *>(static_cast<std::byte *>(tensor->data) +
                                        index * static_cast<int64_t>(tensor->nb[1]));
}

// Whether the cells of a grid [channels, W, H, T] lie evenly apart, nb[1] each: a whole tensor, or channels of one.
inline bool cells_are_even(const ggml_tensor * tensor) {
    return tensor->nb[2] == tensor->nb[1] * static_cast<size_t>(tensor->ne[1]) &&
           tensor->nb[3] == tensor->nb[2] * static_cast<size_t>(tensor->ne[2]);
}

inline constexpr int64_t kAny = -1;

// Throws ShapeError unless `tensor` has this type and these dimensions (kAny: whatever it is) and the elements of a row
// lie next to each other; rows themselves may lie apart.
void expect_rows(std::string_view op, std::string_view argument, const ggml_tensor * tensor, ggml_type type,
                 std::array<int64_t, 4> ne);

// A table with a row per distinct timestep and the row each token takes: F32 [width, distinct] and I32 [tokens], or one
// row and no list. Throws ShapeError.
void expect_row_table(std::string_view op, std::string_view argument, const ggml_tensor * table,
                      const ggml_tensor * rows, int64_t width, int64_t tokens);

// The row of `table` for a token; null when the list points outside of the table.
inline const float * table_row(const ggml_tensor * table, const ggml_tensor * rows, int64_t token) {
    const int64_t index = rows ? static_cast<const int32_t *>(rows->data)[token] : 0;
    return index >= 0 && index < table->ne[1] ? row_of(table, index) : nullptr;
}

}  // namespace ltx
