#include "runtime/slot_residency.h"

#include <algorithm>
#include <numeric>
#include <system_error>

#include "base/error.h"

namespace ltx {

namespace {

// Graphs know weights as const; where they lie is this file's business.
ggml_tensor * movable(const ggml_tensor * weight) {
    return const_cast<ggml_tensor *>(weight);
}

// What each part reads of either; of the second where they have other parts.
SegmentWeights joined(SegmentWeights first, const SegmentWeights & second) {
    if (first.size() != second.size()) {
        return second;
    }
    for (size_t i = 0; i < first.size(); ++i) {
        for (const ggml_tensor * weight : second[i]) {
            if (!std::ranges::count(first[i], weight)) {
                first[i].push_back(weight);
            }
        }
    }
    return first;
}

}  // namespace

size_t SlotLayout::total_bytes() const {
    return std::accumulate(slot_bytes.begin(), slot_bytes.end(), staying_bytes);
}

SlotLayout lay_out_slots(SegmentWeights segments, size_t slots,
                         const std::function<size_t(const ggml_tensor *)> & bytes_of) {
    std::map<const ggml_tensor *, size_t> readers;
    for (const auto & weights : segments) {
        for (const ggml_tensor * weight : weights) {
            ++readers[weight];
        }
    }
    SlotLayout layout;
    for (const auto & [weight, count] : readers) {
        if (count > 1) {
            layout.staying.push_back(weight);
            layout.staying_bytes += bytes_of(weight);
        }
    }
    layout.slot_bytes.resize(slots);
    for (size_t i = 0; i < segments.size(); ++i) {
        std::erase_if(segments[i], [&](const ggml_tensor * weight) { return readers[weight] > 1; });
        size_t bytes = 0;
        for (const ggml_tensor * weight : segments[i]) {
            bytes += bytes_of(weight);
        }
        layout.slot_bytes[i % slots] = std::max(layout.slot_bytes[i % slots], bytes);
    }
    layout.segments = std::move(segments);
    return layout;
}

size_t placed_bytes(ggml_backend_buffer_type_t type, const ggml_tensor * weight) {
    const size_t alignment = ggml_backend_buft_get_alignment(type);
    // More than the weight's own bytes where kernels read past its end.
    return (ggml_backend_buft_get_alloc_size(type, weight) + alignment - 1) / alignment * alignment;
}

SlotResidency::SlotResidency(std::shared_ptr<Backend> backend, size_t slots)
    : backend_(std::move(backend)), slots_(slots) {
    ggml_backend_dev_t device = ggml_backend_get_device(backend_->handle());
    ggml_backend_dev_props properties;
    ggml_backend_dev_get_props(device, &properties);
    if (!properties.caps.events) {
        return;
    }
    copier_ = open_handle(device);
    for (size_t i = 0; i < slots_; ++i) {
        filled_.emplace_back(ggml_backend_event_new(device));
    }
    if (std::ranges::any_of(filled_, [](const Event & event) { return !event; })) {
        throw BackendError("device '", backend_->name(), "' gives no second stream for weights");
    }
}

SlotResidency::~SlotResidency() {
    return_to_host();
}

void SlotResidency::return_to_host() {
    if (copier_) {
        try {
            ggml_backend_synchronize(copier_.get());
        } catch (const std::system_error &) {
            // A device that was lost, which was thrown before, copies no more.
        }
    }
    for (const auto & [weight, origin] : origins_) {
        movable(weight)->buffer = origin.buffer;
        movable(weight)->data = origin.data;
    }
    origins_.clear();
    staying_.reset();
    slot_buffers_.clear();
    placed_.clear();
    stays_.clear();
}

bool SlotResidency::has_places_for(const SegmentWeights & segments) const {
    if (segments.size() != placed_.size()) {
        return false;
    }
    for (size_t i = 0; i < segments.size(); ++i) {
        for (const ggml_tensor * weight : segments[i]) {
            if (!std::ranges::count(placed_[i], weight)) {
                return false;
            }
        }
    }
    return true;
}

bool SlotResidency::use(SegmentWeights segments) {
    next_ = 0;
    in_flight_ = 0;
    const bool keeps_places = has_places_for(segments);
    if (!keeps_places) {
        SegmentWeights all = joined(placed_, segments);
        return_to_host();
        move_to_places(all);
        placed_ = std::move(all);
    }
    segments_ = std::move(segments);
    for (auto & weights : segments_) {
        std::erase_if(weights, [this](const ggml_tensor * weight) { return stays_.contains(weight); });
    }
    return keeps_places;
}

void SlotResidency::move_to_places(const SegmentWeights & segments) {
    for (const auto & weights : segments) {
        for (const ggml_tensor * weight : weights) {
            origins_.emplace(weight, Origin{weight->buffer, weight->data});
        }
    }
    SlotLayout layout = lay_out_slots(
        segments, slots_, [this](const ggml_tensor * weight) { return placed_bytes(backend_->buffer_type(), weight); });
    staying_ = allocate(layout.staying_bytes);
    place(layout.staying, staying_.get());
    for (const size_t bytes : layout.slot_bytes) {
        slot_buffers_.push_back(allocate(bytes));
    }
    for (size_t i = 0; i < layout.segments.size(); ++i) {
        place(layout.segments[i], slot_buffers_[i % slots_].get());
    }
    // The device zeroes what lies behind quantised rows when it places them, on a stream of its own. This waits for it:
    // in a slot, zeros of one weight lie where others will.
    for (const ggml_backend_buffer_ptr & buffer : slot_buffers_) {
        if (buffer) {
            ggml_backend_buffer_clear(buffer.get(), 0);
        }
    }
    stays_.insert(layout.staying.begin(), layout.staying.end());
    copy(layout.staying);
}

ggml_backend_buffer_ptr SlotResidency::allocate(size_t bytes) const {
    ggml_backend_buffer_ptr buffer;
    if (bytes > 0) {
        buffer.reset(ggml_backend_buft_alloc_buffer(backend_->buffer_type(), bytes));
        if (!buffer) {
            throw DeviceMemoryError("device '", backend_->name(), "' has no ", bytes >> 20,
                                    " MiB left for the weights of a block");
        }
        ggml_backend_buffer_set_usage(buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    }
    return buffer;
}

void SlotResidency::place(const std::vector<const ggml_tensor *> & weights, ggml_backend_buffer_t buffer) {
    size_t offset = 0;
    for (const ggml_tensor * weight : weights) {
        movable(weight)->buffer = nullptr;
        movable(weight)->data = nullptr;
        auto * base = static_cast<std::byte *>(ggml_backend_buffer_get_base(buffer));
        ggml_backend_tensor_alloc(buffer, movable(weight), base + offset);
        offset += placed_bytes(backend_->buffer_type(), weight);
    }
}

void SlotResidency::copy(const std::vector<const ggml_tensor *> & weights) {
    for (const ggml_tensor * weight : weights) {
        copy_to(movable(weight), origins_.at(weight).data);
        // Kernels of ggml multiply what lies behind quantised rows, which in a slot was another weight's.
        const size_t bytes = ggml_nbytes(weight);
        const size_t padding = ggml_backend_buft_get_alloc_size(backend_->buffer_type(), weight) - bytes;
        if (padding > 0) {
            zeros_.resize(std::max(zeros_.size(), padding));
            ggml_tensor tail{};
            tail.type = GGML_TYPE_I8;
            std::ranges::fill(tail.ne, 1);
            std::ranges::fill(tail.nb, padding);
            tail.ne[0] = static_cast<int64_t>(padding);
            tail.nb[0] = 1;
            tail.buffer = weight->buffer;
            tail.data = static_cast<std::byte *>(weight->data) + bytes;
            copy_to(&tail, zeros_.data());
        }
    }
}

void SlotResidency::copy_to(ggml_tensor * tensor, const void * from) {
    if (copier_) {
        ggml_backend_tensor_set_async(copier_.get(), tensor, from, 0, ggml_nbytes(tensor));
    } else {
        ggml_backend_tensor_set(tensor, from, 0, ggml_nbytes(tensor));
    }
}

// The slot is free: the part that read it last has run, because a run waits for each of its parts.
void SlotResidency::start_next() {
    copy(segments_[next_]);
    if (copier_) {
        ggml_backend_event_record(filled_[next_ % slots_].get(), copier_.get());
    }
    next_ = (next_ + 1) % segments_.size();
    ++in_flight_;
}

void SlotResidency::before(size_t segment) {
    // A run that was stopped leaves copies for parts that do not come next.
    if (in_flight_ > 0 && (segment + in_flight_) % segments_.size() != next_) {
        in_flight_ = 0;
    }
    if (in_flight_ == 0) {
        next_ = segment;
        start_next();
    }
    const auto next_slot_is_free = [&] {
        for (size_t i = 0; i < in_flight_; ++i) {
            if ((segment + i) % segments_.size() % slots_ == next_ % slots_) {
                return false;
            }
        }
        return true;
    };
    while (next_slot_is_free()) {
        start_next();
    }
    if (copier_) {
        ggml_backend_event_wait(backend_->handle(), filled_[segment % slots_].get());
    }
}

void SlotResidency::after(size_t /*segment*/) {
    --in_flight_;
}

}  // namespace ltx
