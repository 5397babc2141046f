#include <pybind11/stl.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "bindings/devices.h"
#include "bindings/kernels_under_test.h"
#include "bindings/register.h"
#include "kernels/cuda/cublas_lt.h"
#include "kernels/registry.h"
#include "ops/attention/warpgroups.h"
#include "runtime/runner.h"
#include "weights/pack.h"

#if LTX2CPP_EMULATED_CUDA
#include <cuda_runtime.h>
#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/stock_ops.h"
#endif

namespace py = pybind11;

namespace ltx::bindings {

namespace {

#if LTX2CPP_EMULATED_CUDA
// Runs the CUDA kernel of an operation.
void run_emulated(ggml_tensor * node, int thread, int /*num_threads*/, void * /*kernel*/) {
    if (thread != 0) {
        return;
    }
    if (!node->view_src) {  // not one that changes its source in place
        std::memset(node->data, 0xff, ggml_nbytes(node));
    }
    int context = 0;
    run_cuda_op(&context, nullptr, 0, node);
}

size_t exchanged_kernels = 0;

void emulate(ggml_tensor * node) {
    ++exchanged_kernels;
    if (!run_cuda_op(nullptr, nullptr, 0, node)) {
        const CustomOp * own = custom_op_of(node);
        throw UnsupportedError("the CUDA kernels do not support this '", own ? own->name : "custom", "'");
    }
    // In the place of the function that guards CPU kernels; the identity lies behind it.
    const ggml_custom_op_t run = &run_emulated;
    std::memcpy(node->op_params, &run, sizeof(run));
}
#endif

// A graph in two parts, each the sum of its input with itself.
void prepare_parts(Runner & runner) {
    runner.prepare("parts", {}, [](Graph & graph) {
        ggml_tensor * x = graph.input("x", GGML_TYPE_F32, {4, 1, 1, 1});
        ggml_tensor * twice = ggml_add(graph.ctx(), x, x);
        graph.end_segment({twice});
        graph.output("y", ggml_add(graph.ctx(), twice, twice));
    });
    runner.set("x", std::vector<float>(4, 1.0f));
}

// Lets another thread try to compute on the device whenever weights are moved around a part.
class Watch : public Residency {
public:
    explicit Watch(std::shared_ptr<Backend> backend) : backend_(std::move(backend)) {}

    bool use(SegmentWeights) override { return true; }
    void before(size_t) override { let_other_try(); }
    void after(size_t) override { let_other_try(); }

    int intrusions() const { return intrusions_; }

private:
    void let_other_try() {
        std::atomic<bool> & done = done_.emplace_back(false);
        others_.emplace_back([this, &done] {
            Runner runner(backend_);
            prepare_parts(runner);
            runner.compute();
            done = true;
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        intrusions_ += done ? 1 : 0;
    }

    std::shared_ptr<Backend> backend_;
    std::deque<std::atomic<bool>> done_;
    std::vector<std::jthread> others_;
    int intrusions_ = 0;
};

int intrusions() {
    const std::shared_ptr<Backend> backend = Backend::open("cpu", 1);
    Runner runner(backend);
    auto watch = std::make_unique<Watch>(backend);
    const Watch & watching = *watch;
    runner.set_residency(std::move(watch));
    prepare_parts(runner);
    runner.compute();
    return watching.intrusions();
}

}  // namespace

KernelsUnderTest & kernels_under_test() {
    static KernelsUnderTest instance;
    return instance;
}

DeviceTraits emulated_cuda() {
    DeviceTraits traits;
#if LTX2CPP_EMULATED_CUDA
    traits.exchange_kernel = &emulate;
    traits.has_kernel = [](ggml_tensor * node) { return run_cuda_op(nullptr, nullptr, 0, node); };
    traits.scratch_bytes = &cuda_scratch_bytes;
    for (int op = 0; op < GGML_OP_COUNT; ++op) {
        if (op != GGML_OP_CUSTOM && !cuda::has_stock_kernel(static_cast<ggml_op>(op))) {
            traits.missing_ops.insert(ggml_op_name(static_cast<ggml_op>(op)));
        }
    }
#endif
    return traits;
}

void register_testing_kernels(py::module_ & module) {
    py::module_ testing = module.attr("_testing");
    testing.attr("HAS_EMULATED_CUDA") = static_cast<bool>(LTX2CPP_EMULATED_CUDA);
    testing.def(
        "set_kernels",
        [](const std::string & device, const std::string & composed_device, bool emulated_cuda, bool bf16,
           [[maybe_unused]] int code_version) {
            kernels_under_test() = {device, composed_device, emulated_cuda, bf16};
#if LTX2CPP_EMULATED_CUDA
            emulated::cards() = {code_version};
#endif
        },
        py::kw_only(), py::arg("device") = "cpu", py::arg("composed_device") = "cpu", py::arg("emulated_cuda") = false,
        py::arg("bf16") = true, py::arg("code_version") = 90,
        "Chooses where fused and composed operations run from now on, whether a CPU counts as one with BF16\n"
        "instructions, and the compute capability, times ten, for which emulated kernels count as compiled.");
    testing.def(
        "code_versions",
        []([[maybe_unused]] const std::vector<int> & cards, [[maybe_unused]] int devices) {
            std::vector<int> versions;
#if LTX2CPP_EMULATED_CUDA
            const std::vector<int> others = std::exchange(emulated::cards(), cards);
            for (int device = 0; device < devices; ++device) {
                versions.push_back(cuda::code_version(device));
            }
            emulated::card() = 0;
            emulated::cards() = others;
#endif
            return versions;
        },
        py::arg("cards"), py::arg("devices"),
        "What ggml's devices are taken to run code for, over cards that run code for these versions.");
    testing.def(
        "set_lt", [](std::optional<bool> taken) { cuda::takes_lt = taken.value_or(cuda::kTakesLt); }, py::arg("taken"),
        "Whether products end with their epilogues by cuBLASLt from now on; None: as without tests.");
    testing.def(
        "set_warpgroups",
        [](std::optional<bool> taken) { cuda::takes_warpgroups = taken.value_or(cuda::kTakesWarpgroups); },
        py::arg("taken"),
        "Whether attention is computed by warpgroups where a device has them from now on; None: as without tests.");
    testing.def(
        "warpgroup_products",
        [] {
#if LTX2CPP_EMULATED_CUDA
            return std::exchange(emulated::warpgroup_products(), 0);
#else
            return size_t{0};
#endif
        },
        "The matrix products that threads of emulated warpgroups started since this was asked last.");
    testing.def(
        "answer_lt",
        []([[maybe_unused]] bool plans, [[maybe_unused]] bool computes) {
#if LTX2CPP_EMULATED_CUDA
            emulated::lt().answer = !plans      ? emulated::LtAnswer::NoPlan
                                    : !computes ? emulated::LtAnswer::Refuses
                                                : emulated::LtAnswer::Computes;
#endif
        },
        py::kw_only(), py::arg("plans") = true, py::arg("computes") = true,
        "Whether the emulated cuBLASLt has a plan for products, and whether it then computes them.");
    testing.def(
        "lt_products",
        [] {
#if LTX2CPP_EMULATED_CUDA
            return std::exchange(emulated::lt().products, 0);
#else
            return size_t{0};
#endif
        },
        "The products that the emulated cuBLASLt computed since this was asked last.");
    testing.def(
        "last_cuda_error",
        [] {
#if LTX2CPP_EMULATED_CUDA
            return static_cast<int>(cudaGetLastError());
#else
            return 0;
#endif
        },
        "What a kernel of ggml would take for an error of its own; zero for none.");
    testing.def("intrusions", &intrusions, py::call_guard<py::gil_scoped_release>(),
                "How often another thread computed on a device while one was between the parts of a graph.");
    testing.def(
        "exchanged_kernels",
        [] {
#if LTX2CPP_EMULATED_CUDA
            return std::exchange(exchanged_kernels, 0);
#else
            return size_t{0};
#endif
        },
        "The nodes of graphs that were built with emulated kernels since this was asked last.");
    testing.def(
        "most_emulated_scratch",
        [] {
#if LTX2CPP_EMULATED_CUDA
            return std::exchange(emulated::scratch().most, 0);
#else
            return size_t{0};
#endif
        },
        "The most scratch memory that emulated kernels took at a time since this was asked last.");
    testing.def(
        "open_device",
        [](const std::string & name, int threads, bool custom_ops, const std::set<std::string> & missing_ops,
           std::optional<size_t> weight_slots, bool bf16, const std::set<std::string> & missing_types,
           bool emulates_cuda, size_t operand_alignment, std::optional<size_t> largest_binding) {
            DeviceTraits traits = emulates_cuda ? emulated_cuda() : DeviceTraits{};
            for (const std::string & type : missing_types) {
                traits.missing_types.insert(ggml_type_of(parse_dtype(type)).value());
            }
            traits.custom_ops = custom_ops;
            traits.missing_ops.insert(missing_ops.begin(), missing_ops.end());
            traits.weight_slots = weight_slots;
            traits.bf16 = bf16;
            traits.operand_alignment = operand_alignment;
            traits.largest_binding = largest_binding;
            return open_device(name, threads, traits);
        },
        py::arg("name") = "cpu", py::arg("threads") = 1, py::kw_only(), py::arg("custom_ops") = true,
        py::arg("missing_ops") = std::set<std::string>{}, py::arg("weight_slots") = py::none(), py::arg("bf16") = true,
        py::arg("missing_types") = std::set<std::string>{}, py::arg("emulated_cuda") = false,
        py::arg("operand_alignment") = 0, py::arg("largest_binding") = py::none(),
        "A device without any or some kernels of our own, one through whose slots streamed weights pass as on a GPU,\n"
        "a CPU with vectors and without BF16 instructions, a device that computes with no weights of some types, one\n"
        "that runs the CUDA kernels, one whose products take aligned operands only, or one\n"
        "whose operations take no tensor of more bytes.");
}

}  // namespace ltx::bindings
