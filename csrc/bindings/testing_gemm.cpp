// Hooks that let the test suite run the matrix kernels. Only built with LTX2CPP_TESTING.
#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <vector>

#include "bindings/register.h"
#include "bindings/testing.h"
#include "kernels/gemm/gemm.h"
#include "nn/attention.h"
#include "ops/linear/linear.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

constexpr std::align_val_t kAlignment{64};

struct AlignedDelete {
    void operator()(void * memory) const { ::operator delete(memory, kAlignment); }
};

template <typename T>
using Aligned = std::unique_ptr<T[], AlignedDelete>;

template <typename T>
Aligned<T> aligned(int64_t count) {
    return Aligned<T>(static_cast<T *>(::operator new(static_cast<size_t>(count) * sizeof(T), kAlignment)));
}

std::vector<std::string> names_of(std::span<const GemmKernel * const> kernels) {
    std::vector<std::string> names;
    for (const GemmKernel * kernel : kernels) {
        names.emplace_back(kernel->name);
    }
    return names;
}

const GemmKernel & find_kernel(const std::string & name, bool with_float = false) {
    for (const auto kernels : {gemm_kernels(), with_float ? float_kernels() : gemm_kernels()}) {
        for (const GemmKernel * kernel : kernels) {
            if (kernel->name == name) {
                return *kernel;
            }
        }
    }
    throw ArgumentError("kernel '", name, "' is not one of this CPU");
}

// Rows as the kernels want them: BF16, padded with zeros to a multiple of kGemmDepth.
std::vector<Bf16> rounded_rows(const FloatArray & rows, int64_t padded) {
    std::vector<Bf16> rounded(static_cast<size_t>(rows.shape(0) * padded));
    for (int64_t row = 0; row < rows.shape(0); ++row) {
        to_bf16(rows.data(row, 0), rounded.data() + row * padded, rows.shape(1));
    }
    return rounded;
}

py::array_t<float> product(const FloatArray & x, const FloatArray & weights, const std::string & name,
                           const std::vector<int64_t> & depths) {
    if (x.ndim() != 2 || weights.ndim() != 2 || x.shape(1) != weights.shape(1)) {
        throw ShapeError("gemm: x (rows, depth) and weights (cols, depth) do not fit");
    }
    const GemmKernel & kernel = find_kernel(name, /*with_float=*/true);
    const int64_t rows = x.shape(0);
    const int64_t cols = weights.shape(0);
    const int64_t depth = round_up(x.shape(1), kGemmDepth);
    const int64_t padded_cols = round_up(cols, kGemmCols);
    const std::vector<Bf16> inputs = rounded_rows(x, depth);
    const std::vector<Bf16> columns = rounded_rows(weights, depth);
    const Aligned<Bf16> packed = aligned<Bf16>(padded_cols * depth);
    const Aligned<float> sums = aligned<float>(kGemmRows * padded_cols);
    py::array_t<float> result({rows, cols});
    const GemmScope scope(kernel);
    int64_t first = 0;
    for (const int64_t segment : depths) {
        kernel.pack(columns.data() + first, depth, cols, segment, {packed.get(), depth, first});
        first += segment;
    }
    if (first != depth) {
        throw ShapeError("gemm: the segments have ", first, " of ", depth);
    }
    for (int64_t row = 0; row < rows; row += kGemmRows) {
        const int64_t count = std::min(kGemmRows, rows - row);
        std::vector<GemmSegment> segments;
        first = 0;
        for (const int64_t segment : depths) {
            segments.push_back({inputs.data() + row * depth + first, segment});
            first += segment;
        }
        kernel.multiply({segments, depth, count, packed.get(), cols, sums.get(), padded_cols, /*add=*/false});
        for (int64_t r = 0; r < count; ++r) {
            std::copy_n(sums.get() + r * padded_cols, cols, result.mutable_data(row + r, 0));
        }
    }
    return result;
}

using Optional = std::optional<FloatArray>;

ggml_type parse_weight_type(const std::string & name) {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_K,
                                 GGML_TYPE_Q5_K, GGML_TYPE_Q6_K}) {
        if (ggml_type_name(type) == name) {
            return type;
        }
    }
    throw ArgumentError("weight type '", name, "' is none of f32, f16, bf16, q8_0, q4_K, q5_K, q6_K");
}

std::unique_ptr<OpCase> linear_case(const FloatArray & x, const FloatArray & weight, const std::string & type,
                                    const Optional & bias, const Optional & residual, const Optional & gate,
                                    const std::optional<IntArray> & rows, bool gelu, bool rounded, bool fused,
                                    int threads) {
    auto result = std::make_unique<OpCase>(fused, threads);
    result->build([&](Graph & graph) {
        const auto optional = [&](const char * name, const Optional & array) {
            return array ? result->input(graph, name, *array) : nullptr;
        };
        LinearEpilogue epilogue{.bias = optional("bias", bias), .gelu = gelu};
        epilogue.residual = optional("residual", residual);
        epilogue.gate = optional("gate", gate);
        epilogue.gate_rows = rows ? result->input(graph, "rows", *rows) : nullptr;
        epilogue.for_products = rounded;
        ggml_tensor * stored = ggml_cast(graph.ctx(), result->input(graph, "weight", weight), parse_weight_type(type));
        return as_f32(graph, linear(graph, stored, result->input(graph, "x", x), epilogue));
    });
    return result;
}

// Arrays (tokens, heads, head_dim) as the operation reads them.
std::unique_ptr<OpCase> attention_case(const FloatArray & q, const FloatArray & k, const FloatArray & v,
                                       const Optional & mask, const Optional & gate, float scale, int64_t v_offset,
                                       bool own, bool fused, int threads) {
    auto result = std::make_unique<OpCase>(fused, threads);
    result->build([&](Graph & graph) {
        ggml_context * ctx = graph.ctx();
        ggml_tensor * bias = mask ? ggml_cast(ctx, result->input(graph, "mask", *mask), GGML_TYPE_F16) : nullptr;
        ggml_tensor * values = result->input(graph, "v", v);
        if (v_offset > 0) {
            values = ggml_cast(ctx, values, GGML_TYPE_BF16);
            values = ggml_view_3d(ctx, values, values->ne[0], values->ne[1], values->ne[2] - 1, values->nb[1],
                                  values->nb[2], v_offset * values->nb[0]);
        }
        ggml_tensor * logits = gate ? result->input(graph, "gate", *gate) : nullptr;
        return as_f32(graph, attend(graph, {.q = result->input(graph, "q", q),
                                            .k = result->input(graph, "k", k),
                                            .v = values,
                                            .mask = bias,
                                            .scale = scale,
                                            .activations = own ? GGML_TYPE_BF16 : GGML_TYPE_F32,
                                            .gate_logits = logits}));
    });
    return result;
}

}  // namespace

void register_testing_gemm(py::module_ & module) {
    py::module_ testing = module.attr("_testing");
    testing.def(
        "gemm_kernels", [] { return names_of(gemm_kernels()); },
        "Names of the matrix kernels that this CPU runs, best first.");
    testing.def(
        "float_kernels", [] { return names_of(float_kernels()); },
        "The same of those that multiply BF16 numbers in float32.");
    testing.def(
        "choose_gemm_kernel", [](const std::string & name) { choose_gemm_kernel(find_kernel(name)); }, py::arg("name"),
        "Lets all products of ours run on the kernel of this name from here on.");
    testing.def(
        "gemm", &product, py::arg("x"), py::arg("weights"), py::kw_only(), py::arg("kernel"), py::arg("depths"),
        "x (rows, depth), weights (cols, depth); depths of the segments, their sum the depth rounded up to 32.");
    testing.def("linear", &linear_case, py::arg("x"), py::arg("weight"), py::kw_only(), py::arg("type"),
                py::arg("bias") = py::none(), py::arg("residual") = py::none(), py::arg("gate") = py::none(),
                py::arg("rows") = py::none(), py::arg("gelu") = false, py::arg("rounded") = false, py::arg("fused"),
                py::arg("threads") = 1,
                "x (tokens, in), weight (out, in) converted to the type, bias (out,), residual (tokens, out),\n"
                "gate (distinct, out) and rows int32 (tokens,); rounded: the result is rounded for further products.");
    testing.def(
        "attention", &attention_case, py::arg("q"), py::arg("k"), py::arg("v"), py::kw_only(),
        py::arg("mask") = py::none(), py::arg("gate") = py::none(), py::arg("scale"), py::arg("v_offset") = 0,
        py::arg("own"), py::arg("fused") = true, py::arg("threads") = 1,
        "q (tokens, heads, head_dim), k and v (keys, kv_heads, head_dim), mask (tokens, keys), gate (tokens,\n"
        "heads); own: in BF16 where this CPU has a kernel, else ggml's flash attention in float32; v_offset: v\n"
        "has a row more, and begins at this element.");
}

}  // namespace ltx::bindings
