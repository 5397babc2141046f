#include <pybind11/stl.h>

#include <cstring>
#include <optional>
#include <set>
#include <string>

#include "base/error.h"
#include "bindings/devices.h"
#include "bindings/kernels_under_test.h"
#include "bindings/register.h"
#include "weights/pack.h"

#if LTX2CPP_EMULATED_CUDA
#include "kernels/cuda/cuda_op.h"
#endif

namespace py = pybind11;

namespace ltx::bindings {

namespace {

#if LTX2CPP_EMULATED_CUDA
// What ggml keeps in a custom node's first parameter bytes.
// Runs the CUDA kernel of the operation.
void run_emulated(ggml_tensor * node, int thread, int /*num_threads*/, void * /*kernel*/) {
    if (thread != 0) {
        return;
    }
    int context = 0;
    run_cuda_op(&context, nullptr, 0, node);
}

void emulate(ggml_tensor * node, std::set<ggml_tensor *> & seen) {
    if (!node || !seen.insert(node).second) {
        return;
    }
    for (ggml_tensor * source : node->src) {
        emulate(source, seen);
    }
    emulate(node->view_src, seen);
    if (node->op == GGML_OP_CUSTOM) {
        if (!run_cuda_op(nullptr, nullptr, 0, node)) {
            throw UnsupportedError("the CUDA kernels do not support this node");
        }
        // In the place of the function that guards CPU kernels; the identity lies behind it.
        const ggml_custom_op_t run = &run_emulated;
        std::memcpy(node->op_params, &run, sizeof(run));
    }
}
#endif

}  // namespace

KernelsUnderTest & kernels_under_test() {
    static KernelsUnderTest instance;
    return instance;
}

ggml_tensor * under_test(ggml_tensor * result) {
#if LTX2CPP_EMULATED_CUDA
    if (kernels_under_test().emulated_cuda) {
        std::set<ggml_tensor *> seen;
        emulate(result, seen);
    }
#endif
    return result;
}

void register_testing_kernels(py::module_ & module) {
    py::module_ testing = module.attr("_testing");
    testing.attr("HAS_EMULATED_CUDA") = static_cast<bool>(LTX2CPP_EMULATED_CUDA);
    testing.def(
        "set_kernels",
        [](const std::string & device, const std::string & composed_device, bool emulated_cuda) {
            kernels_under_test() = {device, composed_device, emulated_cuda};
        },
        py::kw_only(), py::arg("device") = "cpu", py::arg("composed_device") = "cpu", py::arg("emulated_cuda") = false,
        "Chooses where fused and composed operations run from now on.");
    testing.def(
        "open_device",
        [](const std::string & name, int threads, bool custom_ops, const std::set<std::string> & missing_ops,
           std::optional<size_t> weight_slots, bool bf16, const std::set<std::string> & missing_types) {
            std::set<ggml_type> types;
            for (const std::string & type : missing_types) {
                types.insert(ggml_type_of(parse_dtype(type)).value());
            }
            return open_device(name, threads,
                               {.custom_ops = custom_ops,
                                .missing_ops = {missing_ops.begin(), missing_ops.end()},
                                .missing_types = std::move(types),
                                .own_products = std::nullopt,
                                .weight_slots = weight_slots,
                                .bf16 = bf16});
        },
        py::arg("name") = "cpu", py::arg("threads") = 1, py::kw_only(), py::arg("custom_ops") = true,
        py::arg("missing_ops") = std::set<std::string>{}, py::arg("weight_slots") = py::none(), py::arg("bf16") = true,
        py::arg("missing_types") = std::set<std::string>{},
        "A device without any or some kernels of our own, one through whose slots streamed weights pass as on a GPU,\n"
        "a CPU with vectors and without BF16 instructions, or a device that computes with no weights of some types.");
}

}  // namespace ltx::bindings
