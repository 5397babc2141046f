// Hooks that let the test suite run single operations. Only built with LTX2CPP_TESTING.
#include "bindings/testing.h"

#include <gguf.h>

#include <memory>
#include <new>
#include <numeric>
#include <optional>

#include "bindings/register.h"
#include "io/mapped_file.h"
#include "kernels/registry.h"
#include "ops/bias_gelu/bias_gelu.h"
#include "ops/conv/conv.h"
#include "ops/gated_residual/gated_residual.h"
#include "ops/modulate/modulate.h"
#include "ops/snake/snake.h"
#include "ops/split_rope/split_rope.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

using Case = std::unique_ptr<OpCase>;

// Entry `index` of each row of a table (distinct, entries, width), as the transformer hands over its timestep vectors.
ggml_tensor * table_entry(Graph & graph, ggml_tensor * table, int64_t index) {
    if (index < 0 || index >= table->ne[1]) {
        throw ShapeError("the table has no entry ", index);
    }
    return ggml_view_2d(graph.ctx(), table, table->ne[0], table->ne[2], table->nb[2],
                        static_cast<size_t>(index) * table->nb[1]);  // ne: [width, distinct]
}

// Rows of a wider matrix: all but the last `gap` elements of each.
ggml_tensor * without_gap(Graph & graph, ggml_tensor * x, int64_t gap) {
    return gap == 0 ? x : ggml_view_2d(graph.ctx(), x, x->ne[0] - gap, x->ne[1], x->nb[1], 0);
}

NormKind parse_norm(const std::string & name) {
    if (name == "none") {
        return NormKind::None;
    }
    if (name == "rms") {
        return NormKind::Rms;
    }
    if (name == "layer") {
        return NormKind::Layer;
    }
    throw ArgumentError("norm '", name, "' is none of none, rms, layer");
}

Case modulate_case(const FloatArray & x, const FloatArray & table, int64_t scale_entry, int64_t shift_entry,
                   const std::optional<IntArray> & rows, const std::string & norm, float eps, int64_t gap, bool rounded,
                   bool fused, int threads) {
    auto result = std::make_unique<OpCase>(fused, threads);
    result->build([&](Graph & graph) {
        ggml_tensor * entries = result->input(graph, "table", table);
        return as_f32(graph,
                      modulate(graph, without_gap(graph, result->input(graph, "x", x), gap),
                               table_entry(graph, entries, scale_entry), table_entry(graph, entries, shift_entry),
                               rows ? result->input(graph, "rows", *rows) : nullptr, parse_norm(norm), eps, rounded));
    });
    return result;
}

Case gated_residual_case(const FloatArray & x, const FloatArray & branch, const FloatArray & table, int64_t gate_entry,
                         const std::optional<IntArray> & rows, int64_t gap, bool fused, int threads) {
    auto result = std::make_unique<OpCase>(fused, threads);
    result->build([&](Graph & graph) {
        return gated_residual(graph, without_gap(graph, result->input(graph, "x", x), gap),
                              result->input(graph, "branch", branch),
                              table_entry(graph, result->input(graph, "table", table), gate_entry),
                              rows ? result->input(graph, "rows", *rows) : nullptr);
    });
    return result;
}

Case bias_gelu_case(const FloatArray & x, const std::optional<FloatArray> & bias, int64_t gap, bool fused,
                    int threads) {
    auto result = std::make_unique<OpCase>(fused, threads);
    result->build([&](Graph & graph) {
        return bias_gelu(graph, without_gap(graph, result->input(graph, "x", x), gap),
                         bias ? result->input(graph, "bias", *bias) : nullptr);
    });
    return result;
}

Case norm_split_rope_case(const FloatArray & x, const FloatArray & weight, const std::optional<FloatArray> & cos,
                          const std::optional<FloatArray> & sin, int64_t num_heads, float eps, int64_t gap,
                          const std::optional<IntArray> & rows, bool rounded, bool fused, int threads) {
    auto result = std::make_unique<OpCase>(fused, threads);
    result->build([&](Graph & graph) {
        RopeTables tables{};
        if (cos && sin) {
            tables = {result->input(graph, "cos", *cos), result->input(graph, "sin", *sin),
                      rows ? result->input(graph, "rows", *rows) : nullptr};
        }
        return as_f32(graph, norm_split_rope(graph, without_gap(graph, result->input(graph, "x", x), gap),
                                             result->input(graph, "weight", weight), tables.cos ? &tables : nullptr,
                                             num_heads, eps, rounded ? GGML_TYPE_BF16 : GGML_TYPE_F32));
    });
    return result;
}

Case antialiased_snake_case(const FloatArray & x, const FloatArray & alpha, const FloatArray & beta,
                            const FloatArray & up, const FloatArray & down, bool fused, int threads) {
    auto result = std::make_unique<OpCase>(fused, threads);
    result->build([&](Graph & graph) {
        return antialiased_snake(graph, result->input(graph, "x", x), result->input(graph, "alpha", alpha),
                                 result->input(graph, "beta", beta), result->input(graph, "up", up),
                                 result->input(graph, "down", down));
    });
    return result;
}

void throw_on_thread(ggml_tensor * node, int thread, int /*num_threads*/, void * /*unused*/) {
    if (thread == constants_of<int32_t>(node)) {
        throw std::bad_alloc();
    }
}

Case throwing_case(int thread, int threads) {
    auto result = std::make_unique<OpCase>(/*fused=*/true, threads);
    result->build([&](Graph & graph) {
        return custom_node_with(graph, GGML_TYPE_F32, {1, 1, 1, 1}, {}, &throw_on_thread, static_cast<int32_t>(thread));
    });
    return result;
}

ConvActivation parse_conv_activation(const std::string & name) {
    if (name == "none") {
        return ConvActivation::None;
    }
    if (name == "leaky_relu") {
        return ConvActivation::LeakyRelu;
    }
    if (name == "pixel_norm_silu") {
        return ConvActivation::PixelNormSilu;
    }
    throw ArgumentError("activation '", name, "' is none of none, leaky_relu, pixel_norm_silu");
}

Case conv_case(const FloatArray & x, const FloatArray & weight, const std::optional<FloatArray> & bias,
               const std::optional<FloatArray> & residual, const std::array<int32_t, 4> & kernel,
               const std::array<int32_t, 4> & pad, const std::string & activation, float value, bool bf16, bool fused,
               int threads) {
    auto result = std::make_unique<OpCase>(fused, threads);
    result->build([&](Graph & graph) {
        const ConvOptions options{.kernel_width = kernel[0],
                                  .stride = kernel[1],
                                  .dilation = kernel[2],
                                  .pad_left = pad[0],
                                  .pad_right = pad[1],
                                  .pad_top = pad[2],
                                  .pad_bottom = pad[3],
                                  .repeat = kernel[3],
                                  .activation = parse_conv_activation(activation),
                                  .value = value};
        return conv(graph, result->input(graph, "x", x),
                    result->input_as(graph, "weight", weight, bf16 ? GGML_TYPE_BF16 : GGML_TYPE_F32),
                    bias ? result->input(graph, "bias", *bias) : nullptr, options,
                    residual ? result->input(graph, "residual", *residual) : nullptr);
    });
    return result;
}

Case conv_transpose_case(const FloatArray & x, const FloatArray & weight, const std::optional<FloatArray> & bias,
                         int32_t stride, float slope, bool bf16, bool fused, int threads) {
    auto result = std::make_unique<OpCase>(fused, threads);
    result->build([&](Graph & graph) {
        return conv_transpose(graph, result->input(graph, "x", x),
                              result->input_as(graph, "weight", weight, bf16 ? GGML_TYPE_BF16 : GGML_TYPE_F32),
                              bias ? result->input(graph, "bias", *bias) : nullptr, stride,
                              slope == 1.0f ? ConvActivation::None : ConvActivation::LeakyRelu, slope);
    });
    return result;
}

}  // namespace

void register_testing(py::module_ & module) {
    py::module_ testing = module.def_submodule("_testing", "Single operations, for the test suite.");

    py::class_<OpCase>(testing, "OpCase", "One operation on given arrays, on the CPU.")
        .def(
            "run",
            [](OpCase & self) {
                HostTensor result;
                {
                    const py::gil_scoped_release release;
                    result = self.run();
                }
                return to_numpy(std::move(result));
            },
            "Computes; returns float32, trailing axes of one dropped from ggml's order.")
        .def(
            "parameters", [](const OpCase & self) { return py::bytes(self.parameters()); },
            "Returns what devices compare of a node to find a recorded graph again.")
        .def("time", &OpCase::time, py::arg("repeats"), py::call_guard<py::gil_scoped_release>(),
             "Computes several times; returns the seconds of each, without uploads.");

    testing.def(
        "custom_op_names",
        [] {
            std::vector<std::string> names;
            for (const CustomOp & op : custom_ops()) {
                names.emplace_back(op.name);
            }
            return names;
        },
        "Names of the operations that have a kernel of their own.");

    testing.def(
        "open_with_ggml",
        [](const std::string & path) { gguf_free(gguf_init_from_file(path.c_str(), {true, nullptr})); },
        "Lets ggml itself open a GGUF, and say what it has to say of it.");

    testing.def(
        "sum_mapped",
        [](const std::string & path, const py::function & between) {
            const auto file = MappedFile::open(path);
            between();
            const auto bytes = file->view(0, file->size());
            const auto sum = std::accumulate(bytes.begin(), bytes.end(), int64_t{0}, [](int64_t total, std::byte byte) {
                return total + std::to_integer<int64_t>(byte);
            });
            file->check_unchanged();
            return sum;
        },
        py::arg("path"), py::arg("between"), "Maps a file, calls `between`, and adds up the bytes of the file.");
    testing.def("throwing", &throwing_case, py::arg("thread"), py::arg("threads"),
                "An operation for which there is no memory on one of the threads.");
    testing.def(
        "modulate", &modulate_case, py::arg("x"), py::arg("table"), py::arg("scale_entry"), py::arg("shift_entry"),
        py::arg("rows"), py::arg("norm"), py::arg("eps"), py::arg("gap") = 0, py::kw_only(), py::arg("rounded") = false,
        py::arg("fused"), py::arg("threads") = 1,
        "x (tokens, width + gap), table (distinct, entries, width), rows int32 (tokens,) or None; rounded: the\n"
        "result is rounded for products.");
    testing.def("gated_residual", &gated_residual_case, py::arg("x"), py::arg("branch"), py::arg("table"),
                py::arg("gate_entry"), py::arg("rows"), py::arg("gap") = 0, py::kw_only(), py::arg("fused"),
                py::arg("threads") = 1,
                "x (tokens, width + gap), branch (tokens, width), table and rows as in modulate.");
    testing.def("bias_gelu", &bias_gelu_case, py::arg("x"), py::arg("bias"), py::arg("gap") = 0, py::kw_only(),
                py::arg("fused"), py::arg("threads") = 1, "x (tokens, width + gap), bias (width,) or None.");
    testing.def(
        "norm_split_rope", &norm_split_rope_case, py::arg("x"), py::arg("weight"), py::arg("cos"), py::arg("sin"),
        py::arg("num_heads"), py::arg("eps"), py::arg("gap") = 0, py::kw_only(), py::arg("rows") = py::none(),
        py::arg("rounded") = false, py::arg("fused"), py::arg("threads") = 1,
        "x (tokens, width + gap), weight (width,), cos and sin (tokens, width / 2) or None, or (count, width / 2)\n"
        "with rows int32 (axes, tokens), whose sums they are then.");
    testing.def("antialiased_snake", &antialiased_snake_case, py::arg("x"), py::arg("alpha"), py::arg("beta"),
                py::arg("up"), py::arg("down"), py::kw_only(), py::arg("fused"), py::arg("threads") = 1,
                "x (time, channels), alpha and beta (channels,), filters (12,).");
    testing.def("conv", &conv_case, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("residual"),
                py::arg("kernel"), py::arg("pad"), py::arg("activation") = "none", py::arg("value") = 0.0f,
                py::arg("bf16") = false, py::kw_only(), py::arg("fused"), py::arg("threads") = 1,
                "x (height, width, in), weight (taps, in, out), bias (out,) or None, residual as the result or None;\n"
                "kernel: width, stride, dilation, repeat; pad: left, right, top, bottom. bf16 rounds the weight.");
    testing.def("conv_transpose", &conv_transpose_case, py::arg("x"), py::arg("weight"), py::arg("bias"),
                py::arg("stride"), py::arg("slope") = 1.0f, py::arg("bf16") = false, py::kw_only(), py::arg("fused"),
                py::arg("threads") = 1,
                "x (time, in), weight (taps, in, out), bias (out,) or None; slope of a leaky ReLU in front.");
}

}  // namespace ltx::bindings
