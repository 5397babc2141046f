#include "networks/network_memory.h"

#include <algorithm>

namespace ltx {

NetworkMeter::NetworkMeter(std::vector<const WeightStore *> stores, bool streams)
    : stores_(std::move(stores)), streams_(streams) {
    for (const WeightStore * store : stores_) {
        total_.own_weight_bytes += store->own_bytes();
    }
}

void NetworkMeter::add(const GraphMemory & graph) {
    total_.activation_bytes = std::max<uint64_t>(total_.activation_bytes, graph.activation_bytes);
    total_.scratch_bytes = std::max<uint64_t>(total_.scratch_bytes, graph.scratch_bytes);
    if (streams_) {
        total_.slot_bytes = std::max<uint64_t>(total_.slot_bytes, graph.slot_bytes);
    }
    total_.output_bytes = std::max<uint64_t>(total_.output_bytes, graph.output_bytes);
    for (const std::vector<WeightUse> & segment : graph.segments) {
        uint64_t part = 0;
        for (const WeightUse & use : segment) {
            if (std::ranges::none_of(stores_, [&](const auto * store) { return store->is_mapped(use.weight); })) {
                continue;
            }
            part += use.size_bytes;
            size_t & known = mapped_[use.weight];
            total_.mapped_weight_bytes += std::max(known, use.size_bytes) - known;
            known = std::max(known, use.size_bytes);
        }
        total_.mapped_part_bytes = std::max(total_.mapped_part_bytes, part);
    }
}

}  // namespace ltx
