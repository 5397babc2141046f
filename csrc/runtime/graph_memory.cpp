#include "runtime/graph_memory.h"

#include <algorithm>
#include <map>

#include "base/room.h"
#include "ggml-alloc.h"
#include "kernels/registry.h"
#include "ops/conv3d/conv3d.h"
#include "runtime/slot_residency.h"

namespace ltx {

namespace {

// The weight behind a source of a node, or null.
const ggml_tensor * weight_of(const ggml_tensor * source) {
    const ggml_tensor * root = source && source->view_src ? source->view_src : source;
    const bool is_weight = root && root->op == GGML_OP_NONE && root->buffer &&
                           ggml_backend_buffer_get_usage(root->buffer) == GGML_BACKEND_BUFFER_USAGE_WEIGHTS;
    return is_weight ? root : nullptr;
}

size_t bytes_read(const Backend & backend, const ggml_tensor * node, const ggml_tensor * weight) {
    const CustomOp * op = custom_op_of(node);
    if (op && op->cpu == &conv3d_direct_cpu && weight == node->src[0]) {
        return direct_conv_slices(node, backend.threads());
    }
    if (node->op == GGML_OP_GET_ROWS) {
        return std::min(ggml_nbytes(weight), static_cast<size_t>(ggml_nrows(node)) * weight->nb[1]);
    }
    return ggml_nbytes(weight);
}

// Calls visit(weight) for each weight that a node reads.
template <typename Visit>
void for_weights(const ggml_tensor * node, Visit && visit) {
    if (is_view(node)) {
        return;
    }
    for (const ggml_tensor * source : node->src) {
        if (const ggml_tensor * weight = weight_of(source)) {
            visit(weight);
        }
    }
}

}  // namespace

void require_layout_room(ggml_cgraph * graph) {
    // Where a node and its ten sources lie, its place in a table of at most twice the size, and as much for a leaf.
    constexpr size_t kNodeBytes = 768;
    require_room(static_cast<size_t>(ggml_graph_n_nodes(graph)) * kNodeBytes);
}

GraphMemory measure_graph(const Backend & backend, ggml_cgraph * graph, const std::vector<int> & segment_ends) {
    GraphMemory memory;
    require_layout_room(graph);
    const ggml_gallocr_ptr allocator(ggml_gallocr_new(backend.buffer_type()));
    ggml_gallocr_reserve_n_size(allocator.get(), graph, nullptr, nullptr, &memory.activation_bytes);
    memory.scratch_bytes = backend.scratch_bytes(graph);
    Context ctx;
    const std::vector<ggml_cgraph *> segments = split_graph(ctx, graph, segment_ends);
    if (const size_t slots = backend.weight_slots()) {
        const auto placed = [&](const ggml_tensor * weight) { return placed_bytes(backend.buffer_type(), weight); };
        memory.slot_bytes = lay_out_slots(segment_weights(segments), slots, placed).total_bytes();
    }
    for (ggml_cgraph * segment : segments) {
        std::map<const ggml_tensor *, size_t> uses;
        for (int i = 0; i < ggml_graph_n_nodes(segment); ++i) {
            const ggml_tensor * node = ggml_graph_node(segment, i);
            for_weights(node, [&](const ggml_tensor * weight) {
                size_t & use = uses[weight];
                use = std::max(use, bytes_read(backend, node, weight));
            });
        }
        std::vector<WeightUse> & listed = memory.segments.emplace_back();
        for (const auto & [weight, bytes] : uses) {
            listed.push_back({weight, bytes});
        }
    }
    return memory;
}

std::vector<ggml_cgraph *> split_graph(Context & ctx, ggml_cgraph * graph, const std::vector<int> & segment_ends) {
    std::vector<int> ends = segment_ends;
    ends.push_back(ggml_graph_n_nodes(graph));
    size_t size = 0;
    int begin = 0;
    for (const int end : ends) {
        size += end == begin ? 0 : ggml_graph_overhead_custom(static_cast<size_t>(end - begin), /*grads=*/false);
        begin = end;
    }
    ctx = Context(size);
    std::vector<ggml_cgraph *> segments;
    begin = 0;
    for (const int end : ends) {
        if (end == begin) {
            continue;
        }
        ggml_cgraph * segment = ggml_new_graph_custom(ctx.get(), static_cast<size_t>(end - begin), /*grads=*/false);
        for (int i = begin; i < end; ++i) {
            ggml_graph_add_node(segment, ggml_graph_node(graph, i));
        }
        segments.push_back(segment);
        begin = end;
    }
    return segments;
}

SegmentWeights segment_weights(const std::vector<ggml_cgraph *> & segments) {
    SegmentWeights weights;
    for (ggml_cgraph * segment : segments) {
        std::vector<const ggml_tensor *> & listed = weights.emplace_back();
        for (int i = 0; i < ggml_graph_n_nodes(segment); ++i) {
            for_weights(ggml_graph_node(segment, i), [&](const ggml_tensor * weight) {
                if (std::ranges::find(listed, weight) == listed.end()) {
                    listed.push_back(weight);
                }
            });
        }
    }
    return weights;
}

}  // namespace ltx
