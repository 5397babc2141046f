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

    // Builds the graph by `build` unless the last one was made under the same key and options. The key must say
    // everything the build depends on (shapes, switches, state). A device that cannot run fused operations gets their
    // composed form, for which `build` may be called a second time; the device warns of it. Throws UnsupportedError
    // when the device lacks an operation, DeviceMemoryError when the activations do not fit.
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

    // Frees graph and activations.
    void reset();

    Backend & backend() const { return *backend_; }
    const std::shared_ptr<Backend> & shared_backend() const { return backend_; }

private:
    // Builds in the form that the device can run. Throws UnsupportedError.
    void build_supported(const RunOptions & options, const std::function<void(Graph &)> & build);

    // Builds in the given form; returns a node that the device cannot compute, or null.
    const ggml_tensor * rebuild(const RunOptions & options, OpForm form, const std::function<void(Graph &)> & build);

    // Places the graph's tensors on the device. Throws DeviceMemoryError.
    void place();

    std::shared_ptr<Backend> backend_;
    std::string key_;
    std::unique_ptr<Graph> graph_;
    ggml_cgraph * compute_graph_ = nullptr;
    ggml_gallocr_ptr allocator_;
    std::unique_ptr<Residency> residency_;
    Context segment_ctx_;
    std::vector<ggml_cgraph *> segment_graphs_;
};

}  // namespace ltx
