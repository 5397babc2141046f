#include "runtime/backend.h"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/stopping.h"
#include "ggml-cpu.h"
#include "graph/graph.h"
#include "graph/product.h"
#include "kernels/gemm/gemm.h"
#include "kernels/registry.h"
#include "ops/conv3d/conv3d.h"
#include "ops/int8_linear/int8_linear.h"
#include "ops/int8_linear/on_cuda.h"
#if LTX2CPP_CUDA
#include "kernels/cuda/cuda_op.h"
#endif
#if LTX2CPP_VULKAN
#include "kernels/vulkan/vulkan_op.h"
#endif

namespace ltx {

namespace {

// One that is computed with and one that is filled.
constexpr size_t kWeightSlots = 2;

// What a device holds of code and handles once networks have run: its context, the kernels of ggml and cuBLAS that were
// loaded, and cuBLAS's workspace. An estimate for CUDA.
constexpr size_t kLibraryBytes = size_t{600} << 20;

// Most of what ggml's kernels take for a node: operands of products as 16-bit numbers, and those of attention.
size_t stock_scratch_bytes(const ggml_tensor * node) {
    if (node->op != GGML_OP_MUL_MAT && node->op != GGML_OP_FLASH_ATTN_EXT) {
        return 0;
    }
    int64_t elements = ggml_nelements(node);
    for (const ggml_tensor * source : node->src) {
        elements += source ? ggml_nelements(source) : 0;
    }
    return static_cast<size_t>(elements) * sizeof(ggml_fp16_t);
}

// Room for a node and its sources, which are asked about and never computed.
Context make_probe_context() {
    return Context(4 * ggml_tensor_overhead());
}

// A head that every kernel of attention takes.
constexpr int64_t kCommonHead = 64;

// Hands the function that runs our kernels to the device's backend; false where it has no such hook.
template <typename Function>
[[maybe_unused]] bool install_custom_ops(ggml_backend_dev_t device, const char * hook, Function function) {
    const auto install = reinterpret_cast<void (*)(Function)>(
        ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), hook));
    if (install) {
        install(function);
    }
    return install != nullptr;
}

}  // namespace

std::shared_ptr<Backend> Backend::open(const std::string & name, int threads, Warn warn, const DeviceTraits & traits) {
    ggml_backend_dev_t device = find_device(name);
    std::shared_ptr<Backend> backend(new Backend());
    backend->name_ = device_name(device);
    backend->handle_ = open_handle(device);
    backend->warn_ = std::move(warn);
    backend->buffer_type_ =
        traits.buffer_type ? traits.buffer_type : ggml_backend_get_default_buffer_type(backend->handle());
    backend->is_cpu_ = is_cpu_device(device);
    // ggml's Vulkan binds operands where they lie, and a driver may do anything with an address it does not allow.
    const bool binds_operands = backend->name_.starts_with("vulkan");
    bool has_shaders = false;
#if LTX2CPP_CUDA
    backend->is_cuda_ = install_custom_ops(device, "ggml_backend_cuda_set_custom_op", &run_cuda_op);
#endif
#if LTX2CPP_VULKAN
    if (binds_operands) {
        has_shaders = install_custom_ops(device, "ggml_backend_vk_set_custom_op", &run_vulkan_op);
        backend->ops_without_kernel_ = ops_without_shader();
    }
#endif
    backend->runs_custom_ops_ = (backend->is_cpu_ || backend->is_cuda_ || has_shaders) && traits.custom_ops;
    backend->operand_alignment_ =
        binds_operands ? ggml_backend_buft_get_alignment(backend->buffer_type_) : traits.operand_alignment;
    backend->missing_ops_ = traits.missing_ops;
    backend->missing_types_ = traits.missing_types;
    backend->largest_binding_ = traits.largest_binding;
    backend->exchange_kernel_ = traits.exchange_kernel;
    backend->has_kernel_ = traits.has_kernel;
    backend->scratch_bytes_ = traits.scratch_bytes;
#if LTX2CPP_CUDA
    if (backend->is_cuda_) {
        backend->scratch_bytes_ = &cuda_scratch_bytes;
    }
#endif
    const bool uses_cpu_kernels = backend->is_cpu_ && !traits.exchange_kernel;
    backend->own_products_ =
        traits.own_products.value_or(uses_cpu_kernels ? gemm_kernel() != nullptr : !binds_operands);
    backend->weight_slots_ = traits.weight_slots.value_or(backend->is_cpu_ ? 0 : kWeightSlots);
    backend->threads_ = threads > 0 ? threads : physical_cores();
    if (uses_cpu_kernels) {
        backend->runs_direct_conv_ = has_direct_conv3d();
        const auto features = cpu_features(device);
        const auto has = [&](const char * feature) {
            return std::find(features.begin(), features.end(), feature) != features.end();
        };
        backend->fast_half_type_ = has("AVX512_BF16") ? GGML_TYPE_BF16 : GGML_TYPE_F16;
        // Elsewhere ggml multiplies BF16 one number at a time.
        backend->wide_type_ = has("AVX2") ? GGML_TYPE_BF16 : GGML_TYPE_F32;
        if (!traits.bf16) {
            backend->fast_half_type_ = GGML_TYPE_F16;
            backend->wide_type_ = GGML_TYPE_BF16;
            backend->runs_direct_conv_ = false;
            backend->own_products_ = false;
        }
        backend->decodes_weights_ = !traits.own_products;
    }
    return backend;
}

ggml_backend_buffer_type_t Backend::host_buffer_type() const {
    ggml_backend_buffer_type_t pinned = ggml_backend_dev_host_buffer_type(ggml_backend_get_device(handle()));
    return pinned ? pinned : ggml_backend_cpu_buffer_type();
}

bool Backend::multiplies(ggml_type type, int64_t columns) const {
    const Context ctx = make_probe_context();
    ggml_tensor * weight = ggml_new_tensor_2d(ctx.get(), type, columns, 1);
    ggml_tensor * x = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, columns, 1);
    return !missing_types_.contains(type) && supports(ggml_mul_mat(ctx.get(), weight, x));
}

bool Backend::looks_up(ggml_type type, int64_t columns, int64_t rows) const {
    const Context ctx = make_probe_context();
    ggml_tensor * table = ggml_new_tensor_2d(ctx.get(), type, columns, rows);
    ggml_tensor * row = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I32, 1);
    return !missing_types_.contains(type) && supports(ggml_get_rows(ctx.get(), table, row));
}

bool Backend::multiplies_rotated(int64_t columns, int64_t rows, int64_t group) const {
    if (is_cpu_ && !exchange_kernel_) {
        return runs_custom_ops_;
    }
    if (!runs_custom_ops_ || !cuda::takes_int8) {
        return false;
    }
    Graph graph({}, {.products = products()});
    ggml_tensor * weight = graph.input("weight", GGML_TYPE_I8, {columns, rows, 1, 1});
    const RotatedRows rotated{graph.input("scales", GGML_TYPE_F32, {rows, 1, 1, 1}), group};
    ggml_tensor * x = graph.input("x", GGML_TYPE_F32, {columns, 1, 1, 1});
    ggml_tensor * y = int8_linear(graph, weight, rotated, x);
    const auto computes = [&](ggml_tensor * node) { return supports(node) && (!has_kernel_ || has_kernel_(node)); };
    return computes(y) && computes(y->src[1]);
}

Products Backend::products() const {
    if (!runs_custom_ops_ || (!own_products_ && !decodes_weights_)) {
        return Products::Stock;
    }
    if (!own_products_) {
        return Products::Decoded;
    }
    return is_cpu_ && !exchange_kernel_ ? Products::Own : Products::Device;
}

StockAttention Backend::stock_attention() const {
    const Context ctx = make_probe_context();
    ggml_tensor * x = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, kCommonHead, kCommonHead);
    const bool has_node = supports(ggml_flash_attn_ext(ctx.get(), x, x, x, nullptr, 1.0f, 0.0f, 0.0f));
    return has_node ? StockAttention::Node : StockAttention::Products;
}

bool Backend::supports(const ggml_tensor * node) const {
    if (largest_binding_ && std::ranges::any_of(node->src, [&](const ggml_tensor * source) {
            return source && ggml_nbytes(source) > *largest_binding_;
        })) {
        return false;
    }
    const CustomOp * own = custom_op_of(node);
    return !missing_ops_.contains(own ? own->name : ggml_op_desc(node)) &&
           has_aligned_operands(node, operand_alignment_) && ggml_backend_supports_op(handle(), node);
}

void Backend::exchange_kernels(ggml_cgraph * graph) const {
    for (int i = 0; exchange_kernel_ && i < ggml_graph_n_nodes(graph); ++i) {
        if (ggml_tensor * node = ggml_graph_node(graph, i); node->op == GGML_OP_CUSTOM) {
            exchange_kernel_(node);
        }
    }
}

void Backend::warn_of_missing(std::string_view operation) {
    {
        const std::lock_guard lock(mutex_);
        if (!warned_ops_.emplace(operation).second) {
            return;
        }
    }
    // Without the lock, which others may wait for while they hold what `warn_` needs.
    if (warn_) {
        warn_(name_ + ": no kernel of ours computes '" + std::string(operation) +
              "' there (an older device, or its types or layout), so it is built from ggml's operations, which is "
              "slower");
    }
}

size_t Backend::scratch_of_nodes(ggml_cgraph * graph) const {
    size_t largest = 0;
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        const ggml_tensor * node = ggml_graph_node(graph, i);
        const bool is_own = node->op == GGML_OP_CUSTOM;
        largest = std::max(largest, is_own ? (scratch_bytes_ ? scratch_bytes_(node) : 0) : stock_scratch_bytes(node));
    }
    return largest;
}

size_t Backend::scratch_bytes(ggml_cgraph * graph) const {
    if (!is_cpu_) {
        return scratch_of_nodes(graph) + kLibraryBytes;
    }
    const size_t work = ggml_graph_plan(graph, threads_, nullptr).work_size;
    return scratch_bytes_ ? work + scratch_of_nodes(graph) : work;
}

void Backend::reserve_scratch([[maybe_unused]] ggml_cgraph * graph) {
#if LTX2CPP_CUDA
    if (!is_cuda_) {
        return;
    }
    const std::lock_guard lock(mutex_);
    const size_t bytes = scratch_of_nodes(graph);
    if (bytes > reserved_bytes_ && !reserve_cuda_scratch(handle(), bytes, reserved_bytes_)) {
        throw DeviceMemoryError("device '", name_, "' has no ", bytes >> 20,
                                " MiB left to work with beside weights and activations; use a smaller size, fewer "
                                "frames or offloading");
    }
    reserved_bytes_ = std::max(reserved_bytes_, bytes);
#endif
}

void Backend::compute(ggml_cgraph * graph, const std::function<void()> & before, const std::function<void()> & after) {
    const std::lock_guard lock(mutex_);
    if (before) {
        before();
    }
    if (profile_) {
        compute_timed(graph);
    } else {
        compute_unlocked(graph);
    }
    if (after) {
        after();
    }
}

CpuThreads & Backend::cpu_threads() {
    if (!cpu_threads_ || !cpu_threads_->are_here()) {
        cpu_threads_ = std::make_unique<CpuThreads>(threads_, stop_);
    }
    return *cpu_threads_;
}

void Backend::compute_unlocked(ggml_cgraph * graph) {
    if (is_cpu_) {
        cpu_threads().compute(graph);
        return;
    }
    const WorkingFor working(stop_);
    check_stopping();
    report_failures_to(&failure_);
    ggml_status status = GGML_STATUS_FAILED;
    try {
        status = ggml_backend_graph_compute(handle(), graph);
    } catch (const std::system_error & e) {  // of ggml's Vulkan, where the driver fails
        throw BackendError("device '", name_, "' failed: ", e.what(), "; start the program anew to use it again");
    }
    if (failure_.is_set()) {
#if LTX2CPP_CUDA
        drop_recorded_graphs(handle());
#endif
        failure_.rethrow();
    }
    if (status != GGML_STATUS_SUCCESS) {
        throw BackendError("device '", name_, "' failed: ", ggml_status_to_string(status));
    }
}

void Backend::compute_timed(ggml_cgraph * graph) {
    const Context ctx(ggml_graph_overhead_custom(1, /*grads=*/false));
    ggml_cgraph * single = ggml_new_graph_custom(ctx.get(), 1, false);
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        ggml_tensor * node = ggml_graph_node(graph, i);
        if (is_view(node)) {
            continue;
        }
        ggml_graph_clear(single);
        ggml_graph_add_node(single, node);
        const auto start = std::chrono::steady_clock::now();
        compute_unlocked(single);
        const CustomOp * own = custom_op_of(node);
        OperationTime & time = (*profile_)[own ? std::string(own->name) : ggml_op_desc(node)];
        time.nodes += 1;
        time.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
}

void Backend::start_profile() {
    const std::lock_guard lock(mutex_);
    profile_.emplace();
}

Profile Backend::take_profile() {
    const std::lock_guard lock(mutex_);
    return std::exchange(profile_, std::nullopt).value_or(Profile{});
}

}  // namespace ltx
