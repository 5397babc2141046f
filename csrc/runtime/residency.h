// Which weights are in reach while a graph runs part by part.
#pragma once

#include <cstddef>
#include <vector>

#include "ggml.h"
#include "weights/weight_store.h"

namespace ltx {

// The weights that each part of a graph reads (Graph::end_segment), in order. Views count as what they look at.
using SegmentWeights = std::vector<std::vector<const ggml_tensor *>>;

// Brings weights in before a part of a graph runs and lets them go after it. A runner with a residency computes every
// graph part by part; results are those of a single run.
class Residency {
public:
    virtual ~Residency() = default;

    // Another graph runs from now on: a new one, whose own tensors are not placed yet, or one from before. Says whether
    // all weights lie where they lay; where not, no graph from before may run again.
    virtual bool use(SegmentWeights segments) = 0;

    // Around each part, in order, in every run. The parts of one run are followed by the first one of the next.
    virtual void before(size_t segment) = 0;
    virtual void after(size_t segment) = 0;
};

// What becomes of the pages of mapped weights that were read.
enum class PageCache {
    Keep,  // they leave this process and stay in the system's cache while it has room
    Drop,  // they leave the cache too
};

// For weights that lie in mapped files: asks for the pages of the next part while one is computed, and lets those of
// the last one go, so that a run needs the memory of its largest part only. Converted weights stay.
class MappedResidency : public Residency {
public:
    // The stores have to outlive the object.
    MappedResidency(std::vector<const WeightStore *> stores, PageCache cache);

    bool use(SegmentWeights segments) override {
        segments_ = std::move(segments);
        return true;
    }
    void before(size_t segment) override;
    void after(size_t segment) override;

private:
    std::vector<const WeightStore *> stores_;
    PageCache cache_;
    SegmentWeights segments_;
};

}  // namespace ltx
