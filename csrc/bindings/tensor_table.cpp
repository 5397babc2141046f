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

AdapterForm parse_adapter_form(const std::string & name) {
    if (name == "product") {
        return AdapterForm::Product;
    }
    if (name == "hadamard") {
        return AdapterForm::Hadamard;
    }
    if (name == "kronecker") {
        return AdapterForm::Kronecker;
    }
    throw ArgumentError("adapter form: expected product, hadamard or kronecker, found '", name, "'");
}

MagnitudeOf parse_magnitude_of(const std::string & name) {
    if (name == "rows") {
        return MagnitudeOf::Rows;
    }
    if (name == "columns") {
        return MagnitudeOf::Columns;
    }
    throw ArgumentError("magnitudes: expected those of rows or columns, found '", name, "'");
}

// The matrix itself, or the two factors of it.
using MatrixPlace = std::pair<Place, std::optional<Place>>;

void add_adapter(TensorTable & table, const std::string & weight, const std::string & form,
                 const std::vector<MatrixPlace> & matrices, float scale, float strength,
                 const std::optional<Place> & magnitude, const std::string & magnitude_of) {
    AdapterSource adapter{parse_adapter_form(form),        {}, scale, strength, std::nullopt,
                          parse_magnitude_of(magnitude_of)};
    const auto source = [&](const Place & place) { return locate(table, weight + " (adapter)", place); };
    for (const auto & [left, right] : matrices) {
        adapter.matrices.push_back({source(left), right ? std::optional(source(*right)) : std::nullopt});
    }
    if (magnitude) {
        adapter.magnitude = source(*magnitude);
    }
    table.add_adapter(weight, std::move(adapter));
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
            "add_scales",
            [](TensorTable & table, const std::string & weight, const Place & scales, int64_t rows, int64_t columns,
               bool tiled) {
                table.add_scales(weight, locate(table, weight + " (scales)", scales), rows, columns, tiled);
            },
            py::arg("weight"), py::arg("scales"), py::arg("rows"), py::arg("columns"), py::arg("tiled"),
            "Gives a weight of the table a scale for every block of `rows` x `columns` of its elements, as a matrix\n"
            "(dtype, shape, path, offset, size_bytes); `tiled` ones lie in tiles of 128 x 4, as matrix units read "
            "them.")
        .def("set_rotation", &TensorTable::set_rotation, py::arg("weight"), py::arg("group"),
             "Says that the rows of a weight of the table were rotated by groups of `group` columns (ConvRot).")
        .def(
            "add_low_rank",
            [](TensorTable & table, const std::string & weight, const Place & down, const Place & up, float scale) {
                table.add_low_rank(
                    weight, {locate(table, weight + " (down)", down), locate(table, weight + " (up)", up), scale});
            },
            py::arg("weight"), py::arg("down"), py::arg("up"), py::arg("scale"),
            "Adds scale * up * down to a weight (out, in) of the table: `down` (rank, in) and `up` (out, rank), each\n"
            "as (dtype, shape, path, offset, size_bytes). Several additions to one weight sum up.")
        .def("add_adapter", &add_adapter, py::arg("weight"), py::arg("form"), py::arg("matrices"), py::arg("scale"),
             py::arg("strength"), py::arg("magnitude") = py::none(), py::arg("magnitude_of") = "rows",
             "Makes W + strength * D of a weight W (out, in) of the table. D is scale * M; with magnitudes m it is\n"
             "m * V / |V| - W, V = W + scale * M. M is made of `matrices`, each (place, None) or the places of two\n"
             "factors: 'product' is the only one, 'hadamard' two element by element, 'kronecker' every element of\n"
             "the first times the second. Places as in add_low_rank; `magnitude` is (1, out) for 'rows', (1, in)\n"
             "for 'columns'. Several sum up, each reckoned from W as stored.")
        .def(
            "set_low_rank_mode",
            [](TensorTable & table, const std::string & mode) { table.set_low_rank_mode(parse_low_rank_mode(mode)); },
            py::arg("mode"),
            "Chooses what becomes of low-rank additions: 'merge' adds them to the weights at load, 'runtime' computes\n"
            "them beside the weights, 'auto' (the default) decides by the type of each weight.");
}

}  // namespace ltx::bindings
