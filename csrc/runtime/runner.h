// Builds, allocates and runs graphs, reusing one while its key stays equal.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_tensor.h"
#include "graph/graph.h"
#include "runtime/backend.h"
#include "runtime/graph_memory.h"
#include "runtime/residency.h"

namespace ltx {

struct RunOptions {
    ProbeSet probes;
    OpForm form = OpForm::Fused;
};

class Runner {
public:
    explicit Runner(std::shared_ptr<Backend> backend);

    // Builds the graph by `build` unless one of the last few was made under the same key and options, as passes of
    // guidance alternate. The key must say everything the build depends on (shapes, switches, state). Operations of
    // ours that the device cannot run it gets composed, for which `build` may be called again; the device warns of it.
    // Throws UnsupportedError when the device lacks an operation, DeviceMemoryError when the activations do not fit.
    void prepare(const std::string & key, const RunOptions & options, const std::function<void(Graph &)> & build);

    // Tells what prepare() with these arguments would allocate and compute() read. Allocates nothing and leaves the
    // runner as it is; weights have to be declared or loaded.
    GraphMemory measure(const RunOptions & options, const std::function<void(Graph &)> & build) const;

    // From the next prepare() on, graphs run part by part with their weights in the care of `residency`; null ends it.
    void set_residency(std::unique_ptr<Residency> residency);

    // Fills an input; the byte count must match exactly. Every input is to be set before each run.
    void set(std::string_view input, const void * values, size_t size_bytes);
    void set(std::string_view input, const std::vector<float> & values);
    void set(std::string_view input, std::span<const float> values);
    void set(std::string_view input, const std::vector<int32_t> & values);

    void compute();

    // An F32 output of the last run; its shape is the reverse of `ne` without trailing ones, but of `min_axes` axes at
    // least.
    HostTensor fetch(std::string_view output, int min_axes = 1) const;
    std::map<std::string, HostTensor> fetch_probes(int min_axes = 1) const;

    // Bytes of the activation buffer.
    size_t activation_bytes() const;

    // Frees graphs and activations.
    void reset();

    Backend & backend() const { return *backend_; }
    const std::shared_ptr<Backend> & shared_backend() const { return backend_; }

private:
    // A graph that can run. All of them lie in one buffer, over each other.
    struct Prepared {
        std::string key;
        std::unique_ptr<Graph> graph;
        ggml_cgraph * compute_graph = nullptr;
        Context segment_ctx;
        std::vector<ggml_cgraph *> segment_graphs;  // none without a residency
    };

    // Builds in the form that the device can run. Throws UnsupportedError.
    Prepared build_supported(const RunOptions & options, const std::function<void(Graph &)> & build) const;

    // Builds for the given target; adds the own operations that the device cannot compute to it. Throws
    // UnsupportedError where it cannot compute one of ggml's, or one that is composed already.
    bool rebuild(Prepared & into, const RunOptions & options, GraphTarget & target,
                 const std::function<void(Graph &)> & build) const;

    // Places a new graph's tensors; forgets the others where the buffer moves for it. Throws DeviceMemoryError.
    void place(Prepared & prepared);

    const Graph & graph() const { return *prepared_.front().graph; }

    std::shared_ptr<Backend> backend_;
    std::vector<Prepared> prepared_;  // the one that runs first, then by the time they ran last
    ggml_gallocr_ptr allocator_;
    std::unique_ptr<Residency> residency_;
};

}  // namespace ltx
