#include "bindings/arrays.h"
#include "bindings/register.h"
#include "io/tensor_table.h"

namespace py = pybind11;

namespace ltx::bindings {

void register_tensor_table(py::module_ & module) {
    py::class_<TensorTable>(module, "TensorTable", "Where each stored tensor of one component lies.")
        .def(py::init<>())
        .def(
            "add",
            [](TensorTable & table, const std::string & name, const std::string & dtype, Shape shape,
               const std::string & path, uint64_t offset, uint64_t size_bytes,
               const std::optional<std::string> & target_dtype, float scale) {
                std::optional<DType> target;
                if (target_dtype) {
                    target = parse_dtype(*target_dtype);
                }
                table.add(name, parse_dtype(dtype), std::move(shape), path, offset, size_bytes, target, scale);
            },
            py::arg("name"), py::arg("dtype"), py::arg("shape"), py::arg("path"), py::arg("offset"),
            py::arg("size_bytes"), py::arg("target_dtype") = py::none(), py::arg("scale") = 1.0f,
            "Adds a tensor; `shape` outermost axis first, `offset` absolute in the file.");
}

}  // namespace ltx::bindings
