// What a network takes to run, gathered from the graphs of a run that has not happened.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "runtime/graph_memory.h"
#include "weights/weight_store.h"

namespace ltx {

struct NetworkMemory {
    uint64_t own_weight_bytes = 0;     // weights that were converted or copied
    uint64_t mapped_weight_bytes = 0;  // read where files are mapped
    uint64_t mapped_part_bytes = 0;    // of these, what the largest part of a graph reads
    uint64_t slot_bytes = 0;           // of a device through which streamed weights pass, instead of the others
    uint64_t activation_bytes = 0;
    uint64_t scratch_bytes = 0;
    uint64_t output_bytes = 0;  // results of one run, on the host
    uint64_t state_bytes = 0;   // kept between the runs of a stream
};

class NetworkMeter {
public:
    // The stores, declared or loaded, whose weights the graphs read. `streams`: these can be streamed.
    explicit NetworkMeter(std::vector<const WeightStore *> stores, bool streams = false);

    // Graphs of one network take turns in one buffer.
    void add(const GraphMemory & graph);

    void set_state_bytes(uint64_t bytes) { total_.state_bytes = bytes; }

    const NetworkMemory & total() const { return total_; }

private:
    std::vector<const WeightStore *> stores_;
    bool streams_;
    std::map<const ggml_tensor *, size_t> mapped_;
    NetworkMemory total_;
};

}  // namespace ltx
