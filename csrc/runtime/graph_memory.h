// What a graph reads and takes to run, found by looking at it.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "runtime/backend.h"
#include "runtime/residency.h"

namespace ltx {

// How much of a weight is in memory for a graph: all of it, the rows it looks up, or the slices it reads at once.
struct WeightUse {
    const ggml_tensor * weight;
    size_t size_bytes;
};

struct GraphMemory {
    size_t activation_bytes = 0;
    size_t scratch_bytes = 0;  // of the device, which keeps the largest so far for all networks
    size_t output_bytes = 0;   // of all outputs, which are copied to the host
    size_t slot_bytes = 0;     // of the device, for weights that pass through its slots (runtime/slot_residency.h)
    std::vector<std::vector<WeightUse>> segments;
};

// Room for what ggml keeps to lay out a graph. It ends the process where it does not find any.
void require_layout_room(ggml_cgraph * graph);

// Allocates nothing. `segment_ends` as Graph gives them.
GraphMemory measure_graph(const Backend & backend, ggml_cgraph * graph, const std::vector<int> & segment_ends);

// Graphs over the consecutive nodes of `graph` between the ends, in memory that `ctx` receives.
std::vector<ggml_cgraph *> split_graph(Context & ctx, ggml_cgraph * graph, const std::vector<int> & segment_ends);

SegmentWeights segment_weights(const std::vector<ggml_cgraph *> & segments);

}  // namespace ltx
