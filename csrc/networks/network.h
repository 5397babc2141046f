// What every network needs around it: its weights, a device, and a runner.
#pragma once

#include <memory>
#include <string>

#include "runtime/runner.h"
#include "runtime/slot_residency.h"
#include "weights/weight_store.h"

namespace ltx {

// A network bound to its weights. Opening claims names and shapes only; load() (or the first run) brings the data in.
template <typename Model>
class Component {
public:
    // `bind` claims the model's weights from a scope. Throws WeightError listing every name that does not fit.
    template <typename Bind>
    Component(std::string name, TensorTable table, std::shared_ptr<Backend> backend, Bind && bind)
        : weights_(std::make_unique<WeightStore>(std::move(name), std::move(table))),
          model_(bind(weights_->root())),
          runner_(std::move(backend)) {
        weights_->check_claims();
    }

    // Maps and converts the weights once; also checks that mapped files are unchanged. Call before each run.
    void load() {
        weights_->load(target());
        weights_->check_files();
    }

    // Prepares graphs to be measured without any weights in memory.
    void declare() { weights_->declare(target()); }

    // From the next graph on, lets weights go behind the reader; on a device with memory of its own, weights that are
    // loaded from now on stay in host memory and pass through slots. `others`: stores beside its own that the runner's
    // graphs read; they have to outlive this object.
    void stream_weights(PageCache cache, std::vector<const WeightStore *> others = {}) {
        if (const size_t slots = runner_.backend().weight_slots()) {
            streams_to_device_ = true;
            runner_.set_residency(std::make_unique<SlotResidency>(runner_.shared_backend(), slots));
            return;
        }
        others.push_back(weights_.get());
        runner_.set_residency(std::make_unique<MappedResidency>(std::move(others), cache));
    }

    const Model & model() const { return model_; }
    Runner & runner() { return runner_; }
    WeightStore & weights() { return *weights_; }
    const WeightStore & weights() const { return *weights_; }

private:
    LoadTarget target() const {
        const Backend & device = runner_.backend();
        return {streams_to_device_ ? device.host_buffer_type() : device.buffer_type(), device.is_cpu(),
                device.fast_half_type(), device.runs_direct_conv(), device.threads()};
    }

    std::unique_ptr<WeightStore> weights_;
    Model model_;
    Runner runner_;
    bool streams_to_device_ = false;
};

}  // namespace ltx
