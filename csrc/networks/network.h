// What every network needs around its model: weights, a device, a runner, and calls that take turns.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/stopping.h"
#include "networks/network_memory.h"
#include "networks/probe_names.h"
#include "networks/stores.h"
#include "runtime/runner.h"
#include "runtime/slot_residency.h"

namespace ltx {

// Whether a network's weights can leave memory behind the reader, part by part.
enum class Streaming { Never, Possible };

// A model bound to its weights. Opening claims names and shapes only; load() (or the first run) brings the data in.
// Calls from several threads run one after the other. Networks that share a device must not run at the same time.
template <typename Model>
class Network {
public:
    using Build = std::function<void(Graph &)>;

    // `bind` makes the model from the root of each table, claiming its weights. Throws WeightError listing every name
    // that does not fit.
    template <typename Bind>
    Network(std::vector<NamedTable> tables, std::shared_ptr<Backend> backend, Streaming streaming, Bind && bind)
        : stores_(open_stores(std::move(tables))),
          model_(bind(roots_of(stores_))),
          runner_(std::move(backend)),
          streaming_(streaming) {
        for (const auto & store : stores_) {
            store->check_claims();
        }
    }

    // The same with a single table.
    template <typename Bind>
    Network(std::string owner, TensorTable table, std::shared_ptr<Backend> backend, Streaming streaming, Bind && bind)
        : Network(std::vector<NamedTable>{{std::move(owner), std::move(table)}}, std::move(backend), streaming,
                  [&](const std::vector<Scope> & roots) { return bind(roots.front()); }) {}

    Network(const Network &) = delete;
    Network & operator=(const Network &) = delete;
    virtual ~Network() = default;

    // Maps and converts the weights once; also checks that mapped files are unchanged. Runs do so themselves.
    void load() {
        const auto turn = take_turn();
        load_weights();
    }

    // Bytes of the stored weights in use.
    uint64_t weight_bytes() const {
        uint64_t total = 0;
        for (const auto & store : stores_) {
            total += store->stored_bytes();
        }
        return total;
    }

    // Memory of intermediate results that the last run took and the next may reuse.
    uint64_t activation_bytes() {
        const auto turn = take_turn();
        return runner_.activation_bytes();
    }

    // From the next run on, lets weights go behind the reader; on a device with memory of its own, weights that are
    // loaded from now on stay in host memory and pass through slots.
    void stream_weights(PageCache cache) {
        const auto turn = take_turn();
        if (const size_t slots = backend().weight_slots()) {
            streams_to_device_ = true;
            runner_.set_residency(std::make_unique<SlotResidency>(runner_.shared_backend(), slots));
            return;
        }
        runner_.set_residency(std::make_unique<MappedResidency>(stores(), cache));
    }

    // Throws CheckpointError when a mapped file changed or could not be read; call after a run of another runner over
    // this network's weights.
    void check_files() const {
        for (const auto & store : stores_) {
            store->check_files();
        }
    }

    // Names of the intermediate results that a run can hand back, in the order of computation.
    std::vector<std::string> probe_names() {
        const auto turn = take_turn();
        return offered_probes();
    }

    const Model & model() const { return model_; }
    const Backend & backend() const { return runner_.backend(); }
    const std::shared_ptr<Backend> & shared_backend() const { return runner_.shared_backend(); }

    std::vector<const WeightStore *> stores() const {
        std::vector<const WeightStore *> stores;
        for (const auto & store : stores_) {
            stores.push_back(store.get());
        }
        return stores;
    }

    // Prepares graphs to be measured without any weights in memory, and what adds such measurements up.
    NetworkMeter meter() {
        declare();
        return NetworkMeter(stores(), streaming_ == Streaming::Possible);
    }

protected:
    [[nodiscard]] std::unique_lock<std::mutex> take_turn() { return std::unique_lock(mutex_); }

    void load_weights() {
        const WorkingFor working(runner_.backend().stop_request());
        for (const auto & store : stores_) {
            store->load(target());
        }
        check_files();
    }

    // Runs the graph that runner() has prepared. Throws CheckpointError when weights were missing meanwhile.
    void compute_graph() {
        runner_.compute();
        check_files();
    }

    // Builds a graph, of any size, in which every part of the model occurs. Names of probes are heard from it.
    virtual void draft(Graph & graph) = 0;

    // Throws ArgumentError, in the name of `function`, for a name that is not among probe_names().
    void check_probes(const char * function, const ProbeSet & names) {
        if (!names.empty()) {
            check_probe_names(function, names, offered_probes());
        }
    }

    // What a run takes whose graphs are these, one after the other, without loading weights.
    NetworkMemory measure(const std::vector<Build> & builds, const RunOptions & options = {}) {
        NetworkMeter sum = meter();
        for (const Build & build : builds) {
            sum.add(runner_.measure(options, build));
        }
        return sum.total();
    }

    // The values of a claimed weight of the first table.
    std::vector<float> read_f32(const ggml_tensor * weight) const { return stores_.front()->read_f32(weight); }

    Runner & runner() { return runner_; }

private:
    void declare() {
        for (const auto & store : stores_) {
            store->declare(target());
        }
    }

    const std::vector<std::string> & offered_probes() {
        if (offered_.empty()) {
            declare();
            Graph graph({}, GraphTarget{});
            draft(graph);
            offered_ = graph.offered();
        }
        return offered_;
    }

    LoadTarget target() const {
        const Backend & device = backend();
        return {
            streams_to_device_ ? device.host_buffer_type() : device.buffer_type(),
            device.is_cpu(),
            device.fast_half_type(),
            device.wide_type(),
            device.runs_direct_conv(),
            [&device](ggml_type type, int64_t columns) { return device.multiplies(type, columns); },
            [&device](ggml_type type, int64_t columns, int64_t rows) { return device.looks_up(type, columns, rows); },
            [&device](int64_t columns, int64_t rows, int64_t group) {
                return device.multiplies_rotated(columns, rows, group);
            },
            device.threads()};
    }

    // Before the runner, which may refer to weights to the end.
    WeightStores stores_;
    Model model_;
    Runner runner_;
    Streaming streaming_;
    std::vector<std::string> offered_;
    std::mutex mutex_;
    bool streams_to_device_ = false;
};

}  // namespace ltx
