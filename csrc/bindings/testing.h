// One operation in a graph of its own, for the hooks of the test suite.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/kernels_under_test.h"
#include "runtime/runner.h"
#include "weights/pack.h"

namespace ltx::bindings {

// Declares its inputs as it builds: case.input(graph, "x", array) in the function given to build().
class OpCase {
public:
    OpCase(bool fused, int threads)
        : runner_(Backend::open(fused ? kernels_under_test().device : kernels_under_test().composed_device, threads, {},
                                fused && kernels_under_test().emulated_cuda
                                    ? emulated_cuda()
                                    : DeviceTraits{.bf16 = !fused || kernels_under_test().bf16})),
          form_(fused ? OpForm::Fused : OpForm::Composed) {}

    // The array as a graph input, its axes reversed; at most four.
    template <typename T, int flags>
    ggml_tensor * input(Graph & graph, const std::string & name, const pybind11::array_t<T, flags> & array) {
        constexpr bool kIsInt8 = std::is_same_v<T, int8_t>;
        static_assert(std::is_same_v<T, float> || std::is_same_v<T, int32_t> || kIsInt8);
        constexpr ggml_type kType = std::is_same_v<T, float> ? GGML_TYPE_F32 : kIsInt8 ? GGML_TYPE_I8 : GGML_TYPE_I32;
        if (array.ndim() > GGML_MAX_DIMS) {
            throw ShapeError("input '", name, "' has more than four axes");
        }
        std::array<int64_t, 4> ne{1, 1, 1, 1};
        for (int axis = 0; axis < array.ndim(); ++axis) {
            ne[static_cast<size_t>(array.ndim() - 1 - axis)] = array.shape(axis);
        }
        const auto * bytes = reinterpret_cast<const std::byte *>(array.data());
        feeds_[name].assign(bytes, bytes + array.nbytes());
        return graph.input(name, kType, ne);
    }

    // The same, rounded to the type.
    ggml_tensor * input_as(Graph & graph, const std::string & name, const FloatArray & array, ggml_type type) {
        ggml_tensor * wide = input(graph, name, array);
        if (type == GGML_TYPE_F32) {
            return wide;
        }
        std::vector<std::byte> & bytes = feeds_[name];
        std::vector<std::byte> rounded(static_cast<size_t>(array.size()) * ggml_type_size(type));
        from_float(type, reinterpret_cast<const float *>(bytes.data()), 1, array.size(), rounded.data());
        bytes = std::move(rounded);
        wide->type = type;
        for (int axis = 0; axis < GGML_MAX_DIMS; ++axis) {
            wide->nb[axis] =
                axis == 0 ? ggml_type_size(type) : wide->nb[axis - 1] * static_cast<size_t>(wide->ne[axis - 1]);
        }
        return wide;
    }

    void build(const std::function<ggml_tensor *(Graph &)> & function) {
        runner_.prepare("case", {.probes = {}, .form = form_}, [&](Graph & graph) {
            ggml_tensor * result = function(graph);
            for (node_ = result; node_ && node_->op != GGML_OP_CUSTOM;) {
                node_ = node_->src[0];
            }
            graph.output("result", result);
        });
    }

    // What a device compares of the last custom node, besides its sources' places and shapes.
    std::string parameters() const {
        return node_ ? std::string(reinterpret_cast<const char *>(node_->op_params), sizeof(node_->op_params)) : "";
    }

    HostTensor run() {
        feed();
        runner_.compute();
        return runner_.fetch("result");
    }

    // Seconds of each of `repeats` computations, without the upload of inputs.
    std::vector<double> time(int repeats) {
        std::vector<double> seconds;
        for (int i = 0; i < repeats; ++i) {
            feed();
            const auto start = std::chrono::steady_clock::now();
            runner_.compute();
            seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        }
        return seconds;
    }

private:
    // Before every run, because operations may work in place on an input.
    void feed() {
        for (const auto & [name, bytes] : feeds_) {
            runner_.set(name, bytes.data(), bytes.size());
        }
    }

    Runner runner_;
    OpForm form_;
    const ggml_tensor * node_ = nullptr;
    std::map<std::string, std::vector<std::byte>> feeds_;
};

// A result that is rounded for products, as results are fetched.
inline ggml_tensor * as_f32(Graph & graph, ggml_tensor * tensor) {
    return tensor->type == GGML_TYPE_F32 ? tensor : ggml_cast(graph.ctx(), tensor, GGML_TYPE_F32);
}

}  // namespace ltx::bindings
