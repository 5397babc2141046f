#include "kernels/custom.h"

#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace ltx {

namespace {

std::string describe(ggml_type type, const int64_t * ne) {
    int dims = GGML_MAX_DIMS;
    while (dims > 1 && ne[dims - 1] == 1) {
        --dims;
    }
    std::string text = std::string(ggml_type_name(type)) + " [";
    for (int i = 0; i < dims; ++i) {
        text += (i ? ", " : "") + (ne[i] == kAny ? "any" : std::to_string(ne[i]));
    }
    return text + "]";
}

thread_local KernelFailure * failure_of_thread = nullptr;

void run_guarded(ggml_tensor * node, int thread, int num_threads, void * kernel) {
    try {
        reinterpret_cast<CustomKernel>(kernel)(node, thread, num_threads, nullptr);
    } catch (...) {
        failure_of_thread->set_current();
    }
}

}  // namespace

void KernelFailure::set_current() {
    const std::lock_guard lock(mutex_);
    if (!exception_) {
        exception_ = std::current_exception();
        is_set_.store(true, std::memory_order_release);
    }
}

void KernelFailure::rethrow() {
    if (is_set()) {
        is_set_.store(false, std::memory_order_release);
        std::rethrow_exception(std::exchange(exception_, nullptr));
    }
}

void report_failures_to(KernelFailure * failure) {
    failure_of_thread = failure;
}

void keep_failure() {
    failure_of_thread->set_current();
}

ggml_tensor * custom_node(Graph & graph, ggml_type type, std::array<int64_t, 4> ne,
                          std::initializer_list<ggml_tensor *> sources, CustomKernel kernel, const void * constants,
                          size_t constants_bytes) {
    std::vector<ggml_tensor *> present;
    for (ggml_tensor * source : sources) {
        if (source) {
            present.push_back(source);
        }
    }
    ggml_tensor * node =
        ggml_custom_4d(graph.ctx(), type, ne[0], ne[1], ne[2], ne[3], present.data(), static_cast<int>(present.size()),
                       &run_guarded, GGML_N_TASKS_MAX, reinterpret_cast<void *>(kernel));
    // A device takes a recorded graph for the one asked for when its nodes are equal, and does not compare the types of
    // their sources.
    uint32_t types = 0;
    for (const ggml_tensor * source : present) {
        types = types * 31 + static_cast<uint32_t>(source->type);
    }
    std::memcpy(reinterpret_cast<std::byte *>(node->op_params) + kSourceTypesOffset, &types, sizeof(types));
    if (constants_bytes > 0) {
        std::memcpy(reinterpret_cast<std::byte *>(node->op_params) + kConstantsOffset, constants, constants_bytes);
    }
    return node;
}

ggml_tensor * custom_node_in_place(Graph & graph, std::initializer_list<ggml_tensor *> sources, CustomKernel kernel,
                                   const void * constants, size_t constants_bytes) {
    ggml_tensor * target = *sources.begin();
    ggml_tensor * node = custom_node(graph, target->type, {target->ne[0], target->ne[1], target->ne[2], target->ne[3]},
                                     sources, kernel, constants, constants_bytes);
    node->view_src = target->view_src ? target->view_src : target;
    node->view_offs = target->view_offs;
    return node;
}

void expect_rows(std::string_view op, std::string_view argument, const ggml_tensor * tensor, ggml_type type,
                 std::array<int64_t, 4> ne) {
    bool fits = tensor->type == type && (tensor->nb[0] == ggml_type_size(type) || tensor->ne[0] == 1);
    for (int i = 0; i < GGML_MAX_DIMS; ++i) {
        fits = fits && (ne[i] == kAny || ne[i] == tensor->ne[i]);
    }
    if (!fits) {
        throw ShapeError(op, ": ", argument, " is ", describe(tensor->type, tensor->ne), " with elements ",
                         tensor->nb[0], " bytes apart, expected ", describe(type, ne.data()),
                         " (innermost dimension first) without gaps within a row");
    }
}

void expect_row_table(std::string_view op, std::string_view argument, const ggml_tensor * table,
                      const ggml_tensor * rows, int64_t width, int64_t tokens) {
    expect_rows(op, argument, table, GGML_TYPE_F32, {width, rows ? kAny : 1, 1, 1});
    if (rows) {
        expect_rows(op, "rows", rows, GGML_TYPE_I32, {tokens, 1, 1, 1});
    }
}

}  // namespace ltx
