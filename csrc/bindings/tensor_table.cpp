#include "io/tensor_table.h"
#include "bindings/arrays.h"
#include "bindings/register.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

// dtype, shape, path, offset, size_bytes
using Place = std::tuple<std::string, Shape, std::string, uint64_t, uint64_t>;

TensorSource locate(TensorTable & table, const std::string & name, const Place & place) {
    const auto & [dtype, shape, path, offset, size_bytes] = place;
    return table.locate(name, parse_dtype(dtype), shape, path, offset, size_bytes);
}

LowRankMode parse_low_rank_mode(const std::string & name) {
    if (name == "auto") {
        return LowRankMode::Auto;
    }
    if (name == "merge") {
        return LowRankMode::Merge;
    }
    if (name == "runtime") {
        return LowRankMode::RunTime;
    }
    throw ArgumentError("low-rank mode: expected auto, merge or runtime, found '", name, "'");
}

}  // namespace

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
            "Adds a tensor; `shape` outermost axis first, `offset` absolute in the file.")
        .def(
            "add_low_rank",
            [](TensorTable & table, const std::string & weight, const Place & down, const Place & up, float scale) {
                table.add_low_rank(
                    weight, {locate(table, weight + " (down)", down), locate(table, weight + " (up)", up), scale});
            },
            py::arg("weight"), py::arg("down"), py::arg("up"), py::arg("scale"),
            "Adds scale * up * down to a weight (out, in) of the table: `down` (rank, in) and `up` (out, rank), each\n"
            "as (dtype, shape, path, offset, size_bytes). Several additions to one weight sum up.")
        .def(
            "set_low_rank_mode",
            [](TensorTable & table, const std::string & mode) { table.set_low_rank_mode(parse_low_rank_mode(mode)); },
            py::arg("mode"),
            "Chooses what becomes of low-rank additions: 'merge' adds them to the weights at load, 'runtime' computes\n"
            "them beside the weights, 'auto' (the default) decides by the type of each weight.");
}

}  // namespace ltx::bindings
