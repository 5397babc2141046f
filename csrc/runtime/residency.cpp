#include "runtime/residency.h"

namespace ltx {

MappedResidency::MappedResidency(std::vector<const WeightStore *> stores, PageCache cache)
    : stores_(std::move(stores)), cache_(cache) {}

void MappedResidency::before(size_t segment) {
    // The part itself was asked for while its predecessor ran, but for the first one of all.
    const size_t next = (segment + 1) % segments_.size();
    for (const size_t wanted : {segment, next}) {
        for (const ggml_tensor * tensor : segments_[wanted]) {
            for (const WeightStore * store : stores_) {
                store->prefetch(tensor);
            }
        }
    }
}

void MappedResidency::after(size_t segment) {
    for (const ggml_tensor * tensor : segments_[segment]) {
        for (const WeightStore * store : stores_) {
            store->release(tensor, cache_ == PageCache::Drop);
        }
    }
}

}  // namespace ltx
