#include "graph/graph.h"

#include <utility>

#include "base/error.h"

namespace ltx {

bool is_view(const ggml_tensor * node) {
    return node->op == GGML_OP_VIEW || node->op == GGML_OP_RESHAPE || node->op == GGML_OP_PERMUTE ||
           node->op == GGML_OP_TRANSPOSE || node->op == GGML_OP_NONE;
}

namespace {

// Nearly twice what the largest network of a released model takes, which is the vocoder of LTX-2.3 built from ggml's
// operations only.
constexpr size_t kMaxNodes = 65536;
// What may be added between two looks at the room that is left.
constexpr size_t kMaxNodesOfLayer = 4096;

}  // namespace

Graph::Graph(ProbeSet probes, GraphTarget target)
    : ctx_(ggml_tensor_overhead() * kMaxNodes + ggml_graph_overhead_custom(kMaxNodes, /*grads=*/false)),
      graph_(ggml_new_graph_custom(ctx_.get(), kMaxNodes, /*grads=*/false)),
      wanted_(std::move(probes)),
      target_(std::move(target)) {}

void Graph::check_room() const {
    const size_t left = ggml_get_mem_size(ctx()) - ggml_used_mem(ctx());
    if (left < kMaxNodesOfLayer * ggml_tensor_overhead()) {
        throw UnsupportedError("a network of more than ", kMaxNodes - kMaxNodesOfLayer,
                               " operations is not implemented");
    }
}

ggml_tensor * Graph::input(std::string_view name, ggml_type type, std::array<int64_t, 4> ne) {
    ggml_tensor * tensor = ggml_new_tensor(ctx(), type, GGML_MAX_DIMS, ne.data());
    ggml_set_input(tensor);
    if (!inputs_.emplace(name, tensor).second) {
        throw Error("graph input '", name, "' is declared twice");
    }
    return tensor;
}

ggml_tensor * Graph::keep_constant(const std::string & name, ggml_type type, int64_t width, int64_t rows,
                                   decltype(Constant::values) values) {
    const auto [kept, is_new] = constants_.try_emplace(name);
    if (is_new) {
        kept->second = {ggml_new_tensor_2d(ctx(), type, width, rows), std::move(values)};
        ggml_set_input(kept->second.tensor);
    }
    return kept->second.tensor;
}

ggml_tensor * Graph::constant(const std::string & name, int64_t width, int64_t rows,
                              std::function<std::vector<int32_t>()> values) {
    return keep_constant(name, GGML_TYPE_I32, width, rows, std::move(values));
}

ggml_tensor * Graph::constant(const std::string & name, int64_t width, int64_t rows,
                              std::function<std::vector<float>()> values) {
    return keep_constant(name, GGML_TYPE_F32, width, rows, std::move(values));
}

ggml_tensor * Graph::derived(const ggml_tensor * x, std::string_view name, int64_t number,
                             const std::function<ggml_tensor *()> & make) {
    ggml_tensor *& kept = derived_[{x, std::string(name), number}];
    if (!kept) {
        kept = make();
    }
    return kept;
}

ggml_tensor * Graph::unwritten(ggml_type type, std::array<int64_t, 4> ne) {
    ggml_tensor * tensor = ggml_new_tensor(ctx(), type, GGML_MAX_DIMS, ne.data());
    // No device computes a view. Without a source it gets memory of its own, and from here on: a leaf, which is no
    // operation, would have it from the beginning of the graph.
    tensor->op = GGML_OP_VIEW;
    ggml_build_forward_expand(graph_, tensor);
    return tensor;
}

ggml_tensor * Graph::output(std::string_view name, ggml_tensor * tensor) {
    tensor = ggml_is_contiguous(tensor) ? tensor : ggml_cont(ctx(), tensor);
    ggml_set_output(tensor);
    outputs_.emplace(name, tensor);
    ggml_build_forward_expand(graph_, tensor);
    return tensor;
}

ggml_tensor * Graph::probe(std::string_view name, ggml_tensor * tensor) {
    check_room();
    const std::string full = path(name);
    if (full.empty()) {
        return tensor;
    }
    offered_.push_back(full);
    if (wanted_.contains(full)) {
        // A copy, so that an operation working in place later cannot change what the probe shows.
        ggml_tensor * copy = ggml_cast(ctx(), tensor, GGML_TYPE_F32);
        ggml_set_output(copy);
        probes_.insert_or_assign(full, copy);
        ggml_build_forward_expand(graph_, copy);
    }
    return tensor;
}

bool Graph::wants(std::string_view name) {
    std::string full = path(name);
    if (wanted_.contains(full)) {
        return true;
    }
    offered_.push_back(std::move(full));
    return false;
}

void Graph::side_effect(ggml_tensor * tensor) {
    ggml_build_forward_expand(graph_, tensor);
}

void Graph::end_segment(std::initializer_list<ggml_tensor *> results) {
    check_room();
    for (ggml_tensor * result : results) {
        if (result) {
            ggml_build_forward_expand(graph_, result);
        }
    }
    segment_ends_.push_back(ggml_graph_n_nodes(graph_));
}

Graph::Scope::Scope(Graph & graph, std::string_view name) : graph_(graph), length_(graph.prefix_.size()) {
    graph_.check_room();
    graph_.prefix_ = graph_.path(name);
}

Graph::Scope::~Scope() {
    graph_.prefix_.resize(length_);
}

std::string Graph::path(std::string_view name) const {
    if (prefix_.empty() || name.empty()) {
        return prefix_ + std::string(name);
    }
    return prefix_ + "." + std::string(name);
}

ggml_cgraph * Graph::finish() {
    for (const auto & [name, tensor] : inputs_) {
        ggml_build_forward_expand(graph_, tensor);
    }
    return graph_;
}

}  // namespace ltx
