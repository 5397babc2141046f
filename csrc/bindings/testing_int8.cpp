// Hooks that let the test suite run products of 8-bit integers. Only built with LTX2CPP_TESTING.
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "bindings/register.h"
#include "bindings/testing.h"
#include "kernels/gemm/gemm.h"
#include "kernels/int8/int8.h"
#include "ops/int8_linear/int8_linear.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

using Integers = py::array_t<int8_t, py::array::c_style | py::array::forcecast>;
using Optional = std::optional<FloatArray>;

std::vector<std::string> kernel_names() {
    std::vector<std::string> names;
    for (const Int8Kernel * kernel : int8_kernels()) {
        names.emplace_back(kernel->name);
    }
    return names;
}

py::array_t<int32_t> product(const Integers & x, const Integers & weights, const std::string & name) {
    const auto kernel = std::ranges::find(int8_kernels(), name, &Int8Kernel::name);
    if (kernel == int8_kernels().end() || x.ndim() != 2 || weights.ndim() != 2 || x.shape(1) != weights.shape(1) ||
        x.shape(1) % 2 != 0 || x.shape(0) > kInt8Rows) {
        throw ShapeError("int8_product: no such kernel, or shapes that it does not take");
    }
    const int64_t rows = x.shape(0);
    const int64_t cols = weights.shape(0);
    const int64_t depth = x.shape(1);
    const int64_t width = round_up(cols, kInt8Cols);
    std::vector<int16_t> packed(static_cast<size_t>(width * kInt8MaxDepth));
    std::vector<int16_t> wide(static_cast<size_t>(rows * kInt8MaxDepth));
    std::vector<int32_t> sums(static_cast<size_t>(rows * width));
    for (int64_t k = 0; k < depth; k += kInt8MaxDepth) {
        const int64_t part = std::min(kInt8MaxDepth, depth - k);
        pack_int8(weights.data() + k, depth, cols, part, packed.data());
        widen_int8(x.data() + k, depth, rows, part, wide.data());
        (*kernel)->multiply({wide.data(), rows, packed.data(), cols, part, sums.data(), width, /*add=*/k > 0});
    }
    py::array_t<int32_t> result({rows, cols});
    for (int64_t row = 0; row < rows; ++row) {
        std::copy_n(sums.data() + row * width, cols, result.mutable_data(row, 0));
    }
    return result;
}

std::unique_ptr<OpCase> linear_case(const FloatArray & x, const Integers & weight, const FloatArray & scales,
                                    int64_t group, const Optional & bias, const Optional & residual,
                                    const Optional & gate, bool gelu, bool rounded, int threads) {
    auto result = std::make_unique<OpCase>(/*fused=*/true, threads);
    result->build([&](Graph & graph) {
        const auto optional = [&](const char * name, const Optional & array) {
            return array ? result->input(graph, name, *array) : nullptr;
        };
        LinearEpilogue epilogue{.bias = optional("bias", bias), .gelu = gelu};
        epilogue.residual = optional("residual", residual);
        epilogue.gate = optional("gate", gate);
        ggml_tensor * input = result->input(graph, "x", x);
        return int8_linear(graph, result->input(graph, "weight", weight),
                           {result->input(graph, "scales", scales), group},
                           rounded ? ggml_cast(graph.ctx(), input, GGML_TYPE_BF16) : input, epilogue);
    });
    return result;
}

}  // namespace

void register_testing_int8(py::module_ & module) {
    py::module_ testing = module.attr("_testing");
    testing.def("int8_kernels", &kernel_names, "Names of the kernels that this CPU runs, best first.");
    testing.def("int8_product", &product, py::arg("x"), py::arg("weights"), py::kw_only(), py::arg("kernel"),
                "x (rows, depth), weights (cols, depth), both int8 -> int32 (rows, cols).");
    testing.def("int8_linear", &linear_case, py::arg("x"), py::arg("weight"), py::arg("scales"), py::kw_only(),
                py::arg("group"), py::arg("bias") = py::none(), py::arg("residual") = py::none(),
                py::arg("gate") = py::none(), py::arg("gelu") = false, py::arg("rounded") = false,
                py::arg("threads") = 1,
                "x (tokens, in), weight int8 (out, in), scales (out,), the rest as in linear; rounded: x is\n"
                "BF16.");
}

}  // namespace ltx::bindings
