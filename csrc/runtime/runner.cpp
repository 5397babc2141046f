#include "runtime/runner.h"

#include <algorithm>
#include <new>

#include "base/error.h"
#include "ggml-alloc.h"
#include "kernels/registry.h"

namespace ltx {

namespace {

Shape shape_of(const ggml_tensor * tensor, int min_axes) {
    Shape shape;
    for (int i = std::max(min_axes, ggml_n_dims(tensor)) - 1; i >= 0; --i) {
        shape.push_back(tensor->ne[i]);
    }
    return shape;
}

HostTensor read(const ggml_tensor * tensor, int min_axes) {
    HostTensor result{shape_of(tensor, min_axes), std::vector<float>(static_cast<size_t>(ggml_nelements(tensor)))};
    ggml_backend_tensor_get(tensor, result.values.data(), 0, ggml_nbytes(tensor));
    return result;
}

}  // namespace

Runner::Runner(std::shared_ptr<Backend> backend) : backend_(std::move(backend)) {}

void Runner::prepare(const std::string & key, const RunOptions & options, const std::function<void(Graph &)> & build) {
    std::string full_key = key + (options.form == OpForm::Fused ? "|fused" : "|composed");
    for (const std::string & probe : options.probes) {
        full_key += "|" + probe;
    }
    if (graph_ && full_key == key_) {
        return;
    }
    key_.clear();
    build_supported(options, build);
    segment_graphs_.clear();
    if (residency_) {
        // Before the graph's tensors are placed, because views take the addresses of the weights they look at.
        segment_graphs_ = split_graph(segment_ctx_, compute_graph_, graph_->segment_ends());
        residency_->use(segment_weights(segment_graphs_));
    }
    place();
    key_ = std::move(full_key);
}

void Runner::place() {
    require_layout_room(compute_graph_);
    if (!allocator_) {
        allocator_.reset(ggml_gallocr_new(backend_->buffer_type()));
    }
    bool placed = false;
    try {
        placed = ggml_gallocr_alloc_graph(allocator_.get(), compute_graph_);
    } catch (const std::bad_alloc &) {
        // Thrown right through the allocator, which is not fit to be freed.
        static_cast<void>(allocator_.release());
        throw;
    }
    if (!placed) {
        // It takes the next graph of this size for one that has its memory.
        allocator_.reset();
        throw DeviceMemoryError("the activations of this run do not fit on device '", backend_->name(),
                                "'; use a smaller size or fewer frames");
    }
}

void Runner::build_supported(const RunOptions & options, const std::function<void(Graph &)> & build) {
    const OpForm form = backend_->runs_custom_ops() ? options.form : OpForm::Composed;
    const ggml_tensor * lacking = rebuild(options, form, build);
    if (lacking && lacking->op == GGML_OP_CUSTOM && form == OpForm::Fused) {
        const CustomOp * own = custom_op_of(lacking);
        backend_->warn_of_missing(own ? own->name : ggml_op_desc(lacking));
        lacking = rebuild(options, OpForm::Composed, build);
    }
    if (lacking) {
        throw UnsupportedError("device '", backend_->name(), "' cannot compute ", ggml_op_desc(lacking));
    }
}

GraphMemory Runner::measure(const RunOptions & options, const std::function<void(Graph &)> & build) const {
    Runner draft(backend_);
    draft.build_supported(options, build);
    GraphMemory memory = measure_graph(*backend_, draft.compute_graph_, draft.graph_->segment_ends());
    for (const auto & [name, tensor] : draft.graph_->outputs()) {
        memory.output_bytes += ggml_nbytes(tensor);
    }
    return memory;
}

void Runner::set_residency(std::unique_ptr<Residency> residency) {
    residency_ = std::move(residency);
    key_.clear();
}

const ggml_tensor * Runner::rebuild(const RunOptions & options, OpForm form,
                                    const std::function<void(Graph &)> & build) {
    const bool own_products = form == OpForm::Fused && backend_->own_products();
    const Products own = backend_->is_cpu() ? Products::Own : Products::Device;
    graph_ = std::make_unique<Graph>(options.probes, form, own_products ? own : Products::Stock);
    build(*graph_);
    compute_graph_ = graph_->finish();
    for (int i = 0; i < ggml_graph_n_nodes(compute_graph_); ++i) {
        const ggml_tensor * node = ggml_graph_node(compute_graph_, i);
        if (!backend_->supports(node)) {
            return node;
        }
    }
    return nullptr;
}

void Runner::set(std::string_view input, const void * values, size_t size_bytes) {
    const auto found = graph_->inputs().find(input);
    if (found == graph_->inputs().end()) {
        throw Error("graph has no input '", input, "'");
    }
    if (ggml_nbytes(found->second) != size_bytes) {
        throw ShapeError("graph input '", input, "' takes ", ggml_nbytes(found->second), " bytes, got ", size_bytes);
    }
    ggml_backend_tensor_set(found->second, values, 0, size_bytes);
}

void Runner::set(std::string_view input, const std::vector<float> & values) {
    set(input, values.data(), values.size() * sizeof(float));
}

void Runner::set(std::string_view input, std::span<const float> values) {
    set(input, values.data(), values.size() * sizeof(float));
}

void Runner::set(std::string_view input, const std::vector<int32_t> & values) {
    set(input, values.data(), values.size() * sizeof(int32_t));
}

void Runner::compute() {
    if (!residency_) {
        backend_->compute(compute_graph_);
        return;
    }
    for (size_t i = 0; i < segment_graphs_.size(); ++i) {
        residency_->before(i);
        backend_->compute(segment_graphs_[i]);
        residency_->after(i);
    }
}

HostTensor Runner::fetch(std::string_view output, int min_axes) const {
    const auto found = graph_->outputs().find(output);
    if (found == graph_->outputs().end()) {
        throw Error("graph has no output '", output, "'");
    }
    return read(found->second, min_axes);
}

std::map<std::string, HostTensor> Runner::fetch_probes(int min_axes) const {
    std::map<std::string, HostTensor> result;
    for (const auto & [name, tensor] : graph_->probes()) {
        result.emplace(name, read(tensor, min_axes));
    }
    return result;
}

size_t Runner::activation_bytes() const {
    return allocator_ ? ggml_gallocr_get_buffer_size(allocator_.get(), 0) : 0;
}

void Runner::reset() {
    key_.clear();
    graph_.reset();
    allocator_.reset();
    compute_graph_ = nullptr;
    segment_graphs_.clear();
    segment_ctx_ = Context();
}

}  // namespace ltx
