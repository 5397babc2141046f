// Weights that pass through fixed places on a device, for models larger than its memory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "runtime/backend.h"
#include "runtime/residency.h"

namespace ltx {

// Which weights of a graph stay on a device and how large its slots are.
struct SlotLayout {
    std::vector<const ggml_tensor *> staying;  // several parts read them
    size_t staying_bytes = 0;
    SegmentWeights segments;  // without what stays; part i passes through slot i modulo the number of slots
    std::vector<size_t> slot_bytes;

    size_t total_bytes() const;
};

// `bytes_of`: what a weight takes in a buffer of the device.
SlotLayout lay_out_slots(SegmentWeights segments, size_t slots,
                         const std::function<size_t(const ggml_tensor *)> & bytes_of);

// What a weight takes in a buffer of this type, up to where the next one may start.
size_t placed_bytes(ggml_backend_buffer_type_t type, const ggml_tensor * weight);

// Weights lie in host memory. Those that one part of a graph reads are copied into one of `slots` places before it
// runs, while earlier parts compute; those that several parts read stay on the device. A weight's place does not change
// until a graph reads others, so recorded device graphs stay valid.
//
// Copies run on a stream of their own where the device has events; elsewhere they happen in line. They overlap with the
// computation where the host memory is pinned (Backend::host_buffer_type).
class SlotResidency : public Residency {
public:
    // Throws BackendError when the device gives no second stream.
    SlotResidency(std::shared_ptr<Backend> backend, size_t slots);

    // Moves the weights' tensors to their places, so it has to come before a new graph's tensors are placed. Places are
    // for all graphs that ran since they were last moved together, so graphs that alternate share them. Throws
    // DeviceMemoryError; no graph may run then.
    bool use(SegmentWeights segments) override;

    void before(size_t segment) override;
    void after(size_t segment) override;

    // Moves the tensors back to host memory.
    ~SlotResidency() override;

private:
    // Where a weight lies in host memory.
    struct Origin {
        ggml_backend_buffer_t buffer;
        void * data;
    };
    struct EventFree {
        void operator()(ggml_backend_event_t event) const { ggml_backend_event_free(event); }
    };
    using Event = std::unique_ptr<ggml_backend_event, EventFree>;

    // Whether all of these lie in the places of their parts.
    bool has_places_for(const SegmentWeights & segments) const;
    void return_to_host();
    void move_to_places(const SegmentWeights & segments);
    void copy_to(ggml_tensor * tensor, const void * from);
    void place(const std::vector<const ggml_tensor *> & weights, ggml_backend_buffer_t buffer);
    ggml_backend_buffer_ptr allocate(size_t bytes) const;
    void copy(const std::vector<const ggml_tensor *> & weights);
    void start_next();

    std::shared_ptr<Backend> backend_;
    DeviceHandle copier_;
    size_t slots_;
    std::map<const ggml_tensor *, Origin> origins_;  // of the weights that lie on the device now
    ggml_backend_buffer_ptr staying_;
    std::vector<ggml_backend_buffer_ptr> slot_buffers_;
    SegmentWeights placed_;    // what the graphs read that have run over these places
    SegmentWeights segments_;  // what the graph reads that runs now, without what stays
    std::set<const ggml_tensor *> stays_;
    std::vector<std::byte> zeros_;  // of the longest padding
    std::vector<Event> filled_;
    size_t next_ = 0;       // the segment whose weights are copied next
    size_t in_flight_ = 0;  // segments that were copied and have not run
};

}  // namespace ltx
