// A handle on a device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/stopping.h"
#include "ggml-backend.h"
#include "ggml-cpp.h"
#include "graph/graph.h"
#include "runtime/cpu_threads.h"
#include "runtime/devices.h"

namespace ltx {

// Time of all nodes of one operation.
struct OperationTime {
    int64_t nodes = 0;
    double seconds = 0.0;
};

// By the operation's name: of ours as in the registry, of ggml's in its capitals.
using Profile = std::map<std::string, OperationTime, std::less<>>;

// Receives a sentence for the log, on whichever thread builds or computes.
using Warn = std::function<void(const std::string &)>;

// What a device is taken to be, whatever it is: tests have any device on a CPU.
struct DeviceTraits {
    bool custom_ops = true;                            // false: as if none of our kernels ran there
    std::set<std::string, std::less<>> missing_ops;    // as if these had no kernel: names of ours, and of ggml's
    std::set<ggml_type> missing_types;                 // as if it computed with no weights of these types
    std::optional<bool> own_products;                  // nothing: by the device
    std::optional<size_t> weight_slots;                // nothing: by the device
    size_t operand_alignment = 0;                      // of a device that takes any; see Graph
    std::optional<size_t> largest_binding;             // as if no operation took a larger tensor
    bool bf16 = true;                                  // false: as a CPU with vectors and without BF16 instructions
    ggml_backend_buffer_type_t buffer_type = nullptr;  // of its memory; null: the device's own
    // Gives a custom node a kernel in place of the CPU's; what depends on the CPU is as on a GPU then.
    std::function<void(ggml_tensor *)> exchange_kernel;
    // Whether there is such a kernel for a node.
    std::function<bool(ggml_tensor *)> has_kernel;
    // The scratch memory that the kernel of a custom node takes then.
    std::function<size_t(const ggml_tensor *)> scratch_bytes;
};

// A compute device with its buffers and threads. Shared by networks, whose computations run one after the other.
class Backend {
public:
    // `name` as in find_device. `threads` <= 0 takes the physical cores. Throws ArgumentError for an unknown device,
    // BackendError when it cannot be initialised.
    static std::shared_ptr<Backend> open(const std::string & name, int threads, Warn warn = {},
                                         const DeviceTraits & traits = {});

    ggml_backend_t handle() const { return handle_.get(); }
    ggml_backend_buffer_type_t buffer_type() const { return buffer_type_; }
    bool is_cpu() const { return is_cpu_; }
    int threads() const { return threads_; }
    const std::string & name() const { return name_; }

    // The 16-bit type whose products this device computes fastest: F16 on a CPU without BF16 instructions.
    ggml_type fast_half_type() const { return fast_half_type_; }

    // The type of least size that has the range of BF16 and whose products are vectorised.
    ggml_type wide_type() const { return wide_type_; }

    // Whether convolution kernels are used in the order of the file (ops/conv3d).
    bool runs_direct_conv() const { return runs_direct_conv_; }

    // Whether nodes with our own CPU function can run: always on a CPU, elsewhere where the backend offers a hook for
    // them (third_party/ggml/patch_ggml.py).
    bool runs_custom_ops() const { return runs_custom_ops_; }

    // Our operations that have no kernel for such a device, by name: what it computes instead is no loss to warn of.
    const std::set<std::string, std::less<>> & ops_without_kernel() const { return ops_without_kernel_; }

    // Places on the device through which streamed weights pass (runtime/slot_residency.h); 0 where they are used in
    // host memory.
    size_t weight_slots() const { return weight_slots_; }

    // Memory from which copies to the device overlap with its computations.
    ggml_backend_buffer_type_t host_buffer_type() const;

    // Whose operations products of BF16 and quantised matrices are.
    Products products() const;

    // How the device computes attention that is none of our operations.
    StockAttention stock_attention() const;

    // What operands of ggml's products have to be a multiple of; see Graph.
    size_t operand_alignment() const { return operand_alignment_; }

    // Whether the device multiplies a matrix of this type with this many columns, or looks up rows of a table.
    bool multiplies(ggml_type type, int64_t columns) const;
    bool looks_up(ggml_type type, int64_t columns, int64_t rows) const;

    // Whether it multiplies so many rows of so many columns, which were rotated in groups, as integers
    // (ops/int8_linear).
    bool multiplies_rotated(int64_t columns, int64_t rows, int64_t group) const;

    // Whether the device computes this node.
    bool supports(const ggml_tensor * node) const;

    // Readies the custom nodes of a graph that the device supports.
    void exchange_kernels(ggml_cgraph * graph) const;

    // Warns, the first time for each operation, that it is built from ggml's.
    void warn_of_missing(std::string_view operation);

    // Memory that computing a graph takes beside weights and results. A device keeps the largest it ever took.
    size_t scratch_bytes(ggml_cgraph * graph) const;

    // Takes the scratch memory of a graph now, while there may be some left. Throws DeviceMemoryError.
    void reserve_scratch(ggml_cgraph * graph);

    // Computes and waits; several threads take turns, because scratch memory belongs to the device. `before` and
    // `after` run while this thread has the device: what they enqueue must not fall into what another one records.
    // Throws BackendError, DeviceMemoryError, Cancelled.
    void compute(ggml_cgraph * graph, const std::function<void()> & before = {},
                 const std::function<void()> & after = {});

    // While set, what is loaded or computed here ends with Cancelled within a fraction of a second. Any thread may set
    // it.
    void set_stopping(bool stop) { stop_.store(stop, std::memory_order_relaxed); }
    const StopRequest & stop_request() const { return stop_; }

    // From here on nodes are computed and timed one by one, until the times are taken. Costs some microseconds a node.
    void start_profile();
    Profile take_profile();

private:
    Backend() = default;

    size_t scratch_of_nodes(ggml_cgraph * graph) const;
    void compute_unlocked(ggml_cgraph * graph);
    CpuThreads & cpu_threads();
    void compute_timed(ggml_cgraph * graph);

    DeviceHandle handle_;
    StopRequest stop_ = false;
    std::unique_ptr<CpuThreads> cpu_threads_;
    KernelFailure failure_;  // of other devices
    std::mutex mutex_;
    Warn warn_;
    std::set<std::string, std::less<>> warned_ops_;
    std::set<std::string, std::less<>> missing_ops_;
    std::set<std::string, std::less<>> ops_without_kernel_;
    std::set<ggml_type> missing_types_;
    std::function<void(ggml_tensor *)> exchange_kernel_;
    std::function<bool(ggml_tensor *)> has_kernel_;
    std::function<size_t(const ggml_tensor *)> scratch_bytes_;
    size_t reserved_bytes_ = 0;
    std::optional<Profile> profile_;
    std::string name_;
    ggml_backend_buffer_type_t buffer_type_ = nullptr;
    bool is_cpu_ = true;
    bool is_cuda_ = false;
    size_t operand_alignment_ = 0;
    std::optional<size_t> largest_binding_;
    bool runs_custom_ops_ = true;
    bool runs_direct_conv_ = false;
    bool own_products_ = false;
    bool decodes_weights_ = false;  // where products are not our own
    size_t weight_slots_ = 0;
    int threads_ = 1;
    ggml_type fast_half_type_ = GGML_TYPE_BF16;
    ggml_type wide_type_ = GGML_TYPE_BF16;
};

}  // namespace ltx
