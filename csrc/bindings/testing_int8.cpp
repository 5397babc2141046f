// Hooks that let the test suite run products of 8-bit integers. Only built with LTX2CPP_TESTING.
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "bindings/register.h"
#include "bindings/testing.h"
#include "kernels/gemm/scratch.h"
#include "kernels/int8/int8.h"
#include "kernels/int8/tiles.h"
#include "ops/int8_linear/int8_linear.h"
#include "ops/int8_linear/on_cuda.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

using Integers = py::array_t<int8_t, py::array::c_style | py::array::forcecast>;
using Optional = std::optional<FloatArray>;

// The loops over vectors and matrix registers, on neither.
template <uint32_t kFlipped>
struct PlainVectors {
    static constexpr uint32_t kFlip = kFlipped;
    struct Lanes {
        int32_t values[kTileCols];
    };
    static Lanes load(const void * from) {
        Lanes lanes;
        std::memcpy(&lanes, from, sizeof(lanes));
        return lanes;
    }
    static void store(void * to, const Lanes & lanes) { std::memcpy(to, &lanes, sizeof(lanes)); }
    static Lanes all(uint32_t value) {
        Lanes lanes;
        std::ranges::fill(lanes.values, static_cast<int32_t>(value));
        return lanes;
    }
    static Lanes minus(Lanes a, const Lanes & b) {
        std::ranges::transform(a.values, b.values, a.values, std::minus<>());
        return a;
    }
    static Lanes add_products(Lanes sum, const Lanes & columns, const Lanes & numbers) {
        using Number = std::conditional_t<kFlip == 0, int8_t, uint8_t>;
        const auto * left = reinterpret_cast<const Number *>(&columns);
        const auto * right = reinterpret_cast<const int8_t *>(&numbers);
        for (int i = 0; i < 4 * kTileCols; ++i) {
            sum.values[i / 4] += left[i] * right[i];
        }
        return sum;
    }
};

struct PlainTiles {
    int8_t tile[8][16][64];

    template <int kTile>
    void zero() {
        std::memset(tile[kTile], 0, sizeof(tile[kTile]));
    }
    template <int kTile>
    void load(const void * memory, int64_t stride) {
        for (int64_t row = 0; row < 16; ++row) {
            std::memcpy(tile[kTile][row], static_cast<const std::byte *>(memory) + row * stride, 64);
        }
    }
    template <int kTile>
    void store(void * memory, int64_t stride) {
        for (int64_t row = 0; row < 16; ++row) {
            std::memcpy(static_cast<std::byte *>(memory) + row * stride, tile[kTile][row], 64);
        }
    }
    template <int kSum, int kLeft, int kRight>
    void multiply() {
        for (int row = 0; row < 16; ++row) {
            for (int col = 0; col < 16; ++col) {
                int32_t sum;
                std::memcpy(&sum, tile[kSum][row] + 4 * col, sizeof(sum));
                for (int k = 0; k < 64; ++k) {
                    sum += tile[kLeft][row][k] * tile[kRight][k / 4][4 * col + k % 4];
                }
                std::memcpy(tile[kSum][row] + 4 * col, &sum, sizeof(sum));
            }
        }
    }
};

void pack_plainly(const int8_t * weights, int64_t stride, int64_t cols, int64_t depth, std::byte * packed) {
    pack_tiles(weights, stride, cols, depth, packed, /*flip=*/0);
}

constexpr Int8Kernel kLoops[] = {
    vector_kernel<PlainVectors<kNoSign>, 8, 2>("loops of eight rows"),
    vector_kernel<PlainVectors<kNoSign>, 6, 1>("loops of six rows"),
    vector_kernel<PlainVectors<0>, 6, 1>("loops with signs"),
    {"loops over tiles", kTileDepth, kTileRows, kInt8Panel, &pack_plainly, &multiply_on_tiles<PlainTiles>, nullptr,
     nullptr},
};

std::vector<const Int8Kernel *> all_kernels() {
    std::vector<const Int8Kernel *> kernels(int8_kernels().begin(), int8_kernels().end());
    std::ranges::transform(kLoops, std::back_inserter(kernels), [](const Int8Kernel & kernel) { return &kernel; });
    return kernels;
}

std::vector<std::string> kernel_names() {
    std::vector<std::string> names;
    for (const Int8Kernel * kernel : all_kernels()) {
        names.emplace_back(kernel->name);
    }
    return names;
}

py::array_t<int32_t> product(const Integers & x, const Integers & weights, const std::string & name) {
    const auto kernels = all_kernels();
    const auto found = std::ranges::find(kernels, name, &Int8Kernel::name);
    if (found == kernels.end() || x.ndim() != 2 || weights.ndim() != 2 || x.shape(1) != weights.shape(1) ||
        x.shape(1) % (*found)->step != 0 || x.shape(0) > kInt8Rows) {
        throw ShapeError("int8_product: no such kernel, or shapes that it does not take");
    }
    const Int8Kernel & kernel = **found;
    const int64_t rows = x.shape(0);
    const int64_t cols = weights.shape(0);
    const int64_t depth = x.shape(1);
    const int64_t width = round_up(cols, kInt8Cols);
    AlignedMemory packed, sums, scratch;
    const Int8Scope scope(kernel);
    for (int64_t k = 0; k < depth; k += kernel.panel.depth) {
        const int64_t part = std::min(kernel.panel.depth, depth - k);
        auto * panels = packed.get<std::byte>(width * kernel.panel.depth * kInt8PackedBytes);
        kernel.pack(weights.data() + k, depth, cols, part, panels);
        kernel.multiply({.x = x.data() + k,
                         .row_stride = depth,
                         .rows = rows,
                         .packed = panels,
                         .cols = cols,
                         .depth = part,
                         .sums = sums.get<int32_t>(round_up(rows, kInt8RowStep) * width),
                         .sums_stride = width,
                         .add = k > 0,
                         .scratch = scratch.get<std::byte>(kInt8ScratchBytes)});
    }
    py::array_t<int32_t> result({rows, cols});
    for (int64_t row = 0; row < rows; ++row) {
        std::copy_n(sums.get<int32_t>(0) + row * width, cols, result.mutable_data(row, 0));
    }
    return result;
}

std::unique_ptr<OpCase> linear_case(const FloatArray & x, const Integers & weight, const FloatArray & scales,
                                    int64_t group, const Optional & bias, const Optional & residual,
                                    const Optional & gate, bool gelu, bool rounded, bool for_products, int threads) {
    auto result = std::make_unique<OpCase>(/*fused=*/true, threads);
    result->build([&](Graph & graph) {
        const auto optional = [&](const char * name, const Optional & array) {
            return array ? result->input(graph, name, *array) : nullptr;
        };
        LinearEpilogue epilogue{.bias = optional("bias", bias), .gelu = gelu, .for_products = for_products};
        epilogue.residual = optional("residual", residual);
        epilogue.gate = optional("gate", gate);
        ggml_tensor * input = result->input(graph, "x", x);
        return as_f32(graph, int8_linear(graph, result->input(graph, "weight", weight),
                                         {result->input(graph, "scales", scales), group},
                                         rounded ? ggml_cast(graph.ctx(), input, GGML_TYPE_BF16) : input, epilogue));
    });
    return result;
}

// The integers of each row and, behind them, the bytes of its scale.
py::array_t<int8_t> rows_of(const FloatArray & x, int64_t group, bool rounded) {
    OpCase op(/*fused=*/true, /*threads=*/1);
    op.build([&](Graph & graph) {
        ggml_tensor * input = op.input_as(graph, "x", x, rounded ? GGML_TYPE_BF16 : GGML_TYPE_F32);
        ggml_tensor * rows = int8_rows(graph, input, group);
        // As numbers of the size that results have.
        ggml_tensor * numbers = ggml_view_2d(graph.ctx(), rows, rows->ne[0] / 4, rows->ne[1], rows->nb[1], 0);
        numbers->type = GGML_TYPE_F32;
        numbers->nb[0] = sizeof(float);
        return numbers;
    });
    const HostTensor result = op.run();
    py::array_t<int8_t> bytes({x.shape(0), x.shape(1) + kInt8Tail});
    std::memcpy(bytes.mutable_data(), result.values.data(), static_cast<size_t>(bytes.nbytes()));
    return bytes;
}

bool rows_are_shared() {
    OpCase op(/*fused=*/true, /*threads=*/1);
    bool shared = false;
    op.build([&](Graph & graph) {
        ggml_tensor * x = graph.input("x", GGML_TYPE_F32, {64, 1, 1, 1});
        ggml_tensor * rows = int8_rows(graph, x, 16);
        shared = int8_rows(graph, x, 16) == rows && int8_rows(graph, x, 4) != rows;
        return x;
    });
    return shared;
}

}  // namespace

void register_testing_int8(py::module_ & module) {
    py::module_ testing = module.attr("_testing");
    testing.def("int8_kernels", &kernel_names,
                "Names of the kernels that this CPU runs, best first, and of the loops of others in plain C++.");
    testing.def("int8_product", &product, py::arg("x"), py::arg("weights"), py::kw_only(), py::arg("kernel"),
                "x (rows, depth), weights (cols, depth), both int8 -> int32 (rows, cols).");
    testing.def("int8_linear", &linear_case, py::arg("x"), py::arg("weight"), py::arg("scales"), py::kw_only(),
                py::arg("group"), py::arg("bias") = py::none(), py::arg("residual") = py::none(),
                py::arg("gate") = py::none(), py::arg("gelu") = false, py::arg("rounded") = false,
                py::arg("for_products") = false, py::arg("threads") = 1,
                "x (tokens, in), weight int8 (out, in), scales (out,), the rest as in linear; rounded: x is\n"
                "BF16.");
    testing.def("int8_rows", &rows_of, py::arg("x"), py::kw_only(), py::arg("group"), py::arg("rounded") = false,
                "x (tokens, in) -> int8 (tokens, in + kInt8Tail): integers and, behind them, the scale's bytes.");
    testing.def("int8_rows_are_shared", &rows_are_shared,
                "Whether products of one input share its rows rotated by the same group, and no others.");
    testing.def(
        "set_int8", [](std::optional<bool> taken) { cuda::takes_int8 = taken.value_or(cuda::kTakesInt8); },
        py::arg("taken"),
        "Whether CUDA devices multiply rotated rows as integers from now on; None: as without tests.");
}

}  // namespace ltx::bindings
