#include "runtime/runner.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/error.h"
#include "base/pages.h"
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

template <typename Value>
void write_constant(const std::string & name, ggml_tensor * tensor, const std::vector<Value> & values) {
    if (ggml_nelements(tensor) != static_cast<int64_t>(values.size())) {
        throw Error("graph constant '", name, "' takes ", ggml_nelements(tensor), " numbers, got ", values.size());
    }
    ggml_backend_tensor_set(tensor, values.data(), 0, ggml_nbytes(tensor));
}

// The tensors of a graph lie in one piece of memory. Products read all rows of one again for each panel of columns, and
// in small pages these are more than the processor's table of addresses (TLB) holds.
void prefer_huge_pages_behind(ggml_cgraph * graph) {
    for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
        const ggml_tensor * node = ggml_graph_node(graph, i);
        if (!node->view_src) {
            prefer_huge_pages(ggml_backend_buffer_get_base(node->buffer), ggml_backend_buffer_get_size(node->buffer));
            return;
        }
    }
}

// Passes of guidance alternate between a plain graph, one that leaves attention out and one with isolated streams.
constexpr size_t kKeptGraphs = 3;

}  // namespace

Runner::Runner(std::shared_ptr<Backend> backend) : backend_(std::move(backend)) {}

void Runner::prepare(const std::string & key, const RunOptions & options, const std::function<void(Graph &)> & build) {
    std::string full_key = key + (options.form == OpForm::Fused ? "|fused" : "|composed");
    for (const std::string & probe : options.probes) {
        full_key += "|" + probe;
    }
    if (!prepared_.empty() && prepared_.front().key == full_key) {
        return;
    }
    // What throws from here on may leave weights in other places, and no graph may run then.
    std::vector<Prepared> others = std::exchange(prepared_, {});
    const auto known = std::ranges::find(others, full_key, &Prepared::key);
    const bool is_new = known == others.end();
    Prepared next;
    if (is_new) {
        next = build_supported(options, build);
        next.key = std::move(full_key);
    } else {
        next = std::move(*known);
        others.erase(known);
    }
    if (residency_) {
        if (is_new) {
            next.segment_graphs = split_graph(next.segment_ctx, next.compute_graph, next.graph->segment_ends());
        }
        // Before the graph's tensors are placed, because views take the addresses of the weights they look at.
        if (!residency_->use(segment_weights(next.segment_graphs))) {
            others.clear();
        }
    }
    prepared_ = std::move(others);
    if (is_new) {
        place(next);
        backend_->reserve_scratch(next.compute_graph);
    }
    prepared_.insert(prepared_.begin(), std::move(next));
    prepared_.resize(std::min(prepared_.size(), kKeptGraphs));
}

void Runner::place(Prepared & prepared) {
    require_layout_room(prepared.compute_graph);
    if (!allocator_) {
        allocator_.reset(ggml_gallocr_new(backend_->buffer_type()));
    }
    const size_t before = activation_bytes();
    bool placed = false;
    try {
        // Laid out anew even where the last graph had as many nodes of these sizes: their order of use may be another.
        placed = ggml_gallocr_reserve(allocator_.get(), prepared.compute_graph) &&
                 ggml_gallocr_alloc_graph(allocator_.get(), prepared.compute_graph);
    } catch (const std::bad_alloc &) {
        // Thrown right through the allocator, which is not fit to be freed.
        static_cast<void>(allocator_.release());
        prepared_.clear();
        throw;
    }
    if (!placed) {
        // It takes the next graph of this size for one that has its memory.
        allocator_.reset();
        prepared_.clear();
        throw DeviceMemoryError("the activations of this run do not fit on device '", backend_->name(),
                                "'; use a smaller size or fewer frames");
    }
    if (activation_bytes() != before) {
        prepared_.clear();
        if (backend_->is_cpu()) {
            prefer_huge_pages_behind(prepared.compute_graph);
        }
    }
}

Runner::Prepared Runner::build_supported(const RunOptions & options, const std::function<void(Graph &)> & build) const {
    GraphTarget target{
        .form = backend_->runs_custom_ops() ? options.form : OpForm::Composed,
        .lacking = backend_->ops_without_kernel(),
        .stock_attention = backend_->stock_attention(),
        .operand_alignment = backend_->operand_alignment(),
    };
    target.products = target.form == OpForm::Fused ? backend_->products() : Products::Stock;
    Prepared prepared;
    while (!rebuild(prepared, options, target, build)) {
    }
    return prepared;
}

GraphMemory Runner::measure(const RunOptions & options, const std::function<void(Graph &)> & build) const {
    const Prepared draft = build_supported(options, build);
    GraphMemory memory = measure_graph(*backend_, draft.compute_graph, draft.graph->segment_ends());
    for (const auto & [name, tensor] : draft.graph->outputs()) {
        memory.output_bytes += ggml_nbytes(tensor);
    }
    return memory;
}

void Runner::set_residency(std::unique_ptr<Residency> residency) {
    residency_ = std::move(residency);
    prepared_.clear();
}

bool Runner::rebuild(Prepared & into, const RunOptions & options, GraphTarget & target,
                     const std::function<void(Graph &)> & build) const {
    into.graph = std::make_unique<Graph>(options.probes, target);
    build(*into.graph);
    into.compute_graph = into.graph->finish();
    const size_t known = target.lacking.size();
    for (int i = 0; i < ggml_graph_n_nodes(into.compute_graph); ++i) {
        const ggml_tensor * node = ggml_graph_node(into.compute_graph, i);
        if (backend_->supports(node)) {
            continue;
        }
        const CustomOp * own = custom_op_of(node);
        if (!own || !into.graph->fuses(own->name)) {
            throw UnsupportedError("device '", backend_->name(), "' cannot compute ",
                                   own ? own->name : std::string_view(ggml_op_desc(node)));
        }
        target.lacking.emplace(own->name);
        backend_->warn_of_missing(own->name);
    }
    if (target.lacking.size() > known) {
        return false;
    }
    backend_->exchange_kernels(into.compute_graph);
    return true;
}

void Runner::set(std::string_view input, const void * values, size_t size_bytes) {
    const auto found = graph().inputs().find(input);
    if (found == graph().inputs().end()) {
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
    const Prepared & prepared = prepared_.front();
    // Before each run, because later nodes may take their memory.
    for (const auto & [name, constant] : prepared.graph->constants()) {
        std::visit([&](const auto & values) { write_constant(name, constant.tensor, values()); }, constant.values);
    }
    if (!residency_) {
        backend_->compute(prepared.compute_graph);
        return;
    }
    for (size_t i = 0; i < prepared.segment_graphs.size(); ++i) {
        backend_->compute(prepared.segment_graphs[i], [&] { residency_->before(i); }, [&] { residency_->after(i); });
    }
}

HostTensor Runner::fetch(std::string_view output, int min_axes) const {
    const auto found = graph().outputs().find(output);
    if (found == graph().outputs().end()) {
        throw Error("graph has no output '", output, "'");
    }
    return read(found->second, min_axes);
}

std::map<std::string, HostTensor> Runner::fetch_probes(int min_axes) const {
    std::map<std::string, HostTensor> result;
    for (const auto & [name, tensor] : graph().probes()) {
        result.emplace(name, read(tensor, min_axes));
    }
    return result;
}

size_t Runner::activation_bytes() const {
    return allocator_ ? ggml_gallocr_get_buffer_size(allocator_.get(), 0) : 0;
}

void Runner::reset() {
    prepared_.clear();
    allocator_.reset();
}

}  // namespace ltx
