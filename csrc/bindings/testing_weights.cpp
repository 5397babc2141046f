// Hooks that show the test suite what a weight holds after loading.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/register.h"
#include "weights/weight_store.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

struct LoadedMatrix {
    std::string type;
    HostTensor values;
};

LoadedMatrix load_matrix(const TensorTable & table, const std::string & name, int threads) {
    WeightStore store("a weight under test", table);
    const Shape shape = store.root().shape_of(name);
    const ggml_tensor * tensor = store.root().require(name, shape, WeightKind::Matrix);
    const auto any = [](ggml_type, int64_t) { return true; };
    store.load({.buffer_type = ggml_backend_cpu_buffer_type(),
                .zero_copy = true,
                .half_type = GGML_TYPE_F16,
                .wide_type = GGML_TYPE_BF16,
                .direct_conv = false,
                .multiplies = any,
                .looks_up = [](ggml_type, int64_t, int64_t) { return true; },
                .threads = threads});
    HostTensor values{shape, std::vector<float>(static_cast<size_t>(element_count(shape)))};
    if (tensor->type == GGML_TYPE_F32) {
        ggml_backend_tensor_get(tensor, values.values.data(), 0, ggml_nbytes(tensor));
    } else {
        ggml_get_type_traits(tensor->type)->to_float(tensor->data, values.values.data(), element_count(shape));
    }
    return {ggml_type_name(tensor->type), std::move(values)};
}

}  // namespace

void register_testing_weights(py::module_ & module) {
    auto testing = module.attr("_testing").cast<py::module_>();
    testing.def(
        "load_matrix",
        [](const TensorTable & table, const std::string & name, int threads) {
            LoadedMatrix matrix = unlocked([&] { return load_matrix(table, name, threads); });
            return std::pair(matrix.type, to_numpy(std::move(matrix.values)));
        },
        py::arg("table"), py::arg("name"), py::arg("threads") = 1,
        "Loads the only tensor of a table as a matrix, merges what changes it, and returns ggml's name of the type it\n"
        "is held in, with its values as float32.");
}

}  // namespace ltx::bindings
