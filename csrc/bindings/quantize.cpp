#include "base/parallel.h"
#include "bindings/arrays.h"
#include "bindings/register.h"
#include "kernels/int8/int8.h"
#include "kernels/rotation.h"
#include "weights/pack.h"
#include "weights/values.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

py::array_t<uint8_t> quantize(const FloatArray & values, const std::string & dtype, int threads) {
    if (values.ndim() != 2) {
        throw ShapeError("quantize takes a matrix (rows, columns), got ", view_of(values).shape);
    }
    const DType target = parse_dtype(dtype);
    const auto type = ggml_type_of(target);
    if (!type) {
        throw UnsupportedError("ggml has no type '", dtype, "' to quantise to");
    }
    const int64_t rows = values.shape(0);
    const int64_t columns = values.shape(1);
    const int64_t stride = row_bytes(target, columns);
    py::array_t<uint8_t> result({rows, stride});
    auto * encoded = reinterpret_cast<std::byte *>(result.mutable_data());
    const float * source = values.data();
    const py::gil_scoped_release release;
    parallel_for(rows, threads, [&](int64_t begin, int64_t end) {
        from_float(*type, source + begin * columns, end - begin, columns, encoded + begin * stride);
    });
    return result;
}

py::array_t<float> dequantize(const py::array_t<uint8_t, py::array::c_style> & bytes, const std::string & dtype,
                              int64_t rows, int64_t columns, int threads) {
    const DType source = parse_dtype(dtype);
    check_weight_dtype(source);
    const int64_t stride = row_bytes(source, columns);
    if (rows < 0 || bytes.size() != rows * stride) {
        throw ShapeError("dequantize: ", rows, " rows of ", columns, " ", dtype, " take ", rows * stride,
                         " bytes, got ", bytes.size());
    }
    py::array_t<float> result({rows, columns});
    float * values = result.mutable_data();
    const std::span stored(reinterpret_cast<const std::byte *>(bytes.data()), static_cast<size_t>(bytes.size()));
    const py::gil_scoped_release release;
    parallel_for(rows, threads, [&](int64_t begin, int64_t end) {
        to_float(source, stored, begin * columns, values + begin * columns, (end - begin) * columns);
    });
    return result;
}

using Bytes = py::array_t<uint8_t, py::array::c_style>;
using Values = py::array_t<float, py::array::c_style>;

// Changes `values` in place.
void scale_blocks(Values & values, int64_t first, int64_t width, const Bytes & scales, const std::string & dtype,
                  const Shape & grid, int64_t rows, int64_t columns, bool tiled, const std::string & where) {
    const TensorSource stored{parse_dtype(dtype), grid, nullptr, 0, static_cast<uint64_t>(scales.size())};
    const int64_t last_row = width > 0 ? (first + values.size() - 1) / width / std::max<int64_t>(rows, 1) : 0;
    if (first < 0 || width < 1 || rows < 1 || columns < 1 || grid.size() != 2 || grid[0] <= last_row ||
        grid[1] < (width + columns - 1) / columns || scales.size() != row_bytes(stored.dtype, element_count(grid)) ||
        (tiled && (grid[0] % kScaleTileRows != 0 || grid[1] % kScaleTileColumns != 0))) {
        throw ShapeError("scale_blocks: scales of shape ", grid, " do not fit rows of ", width, " values");
    }
    const BlockScales blocks{where, stored, rows, columns, tiled};
    const std::span bytes(reinterpret_cast<const std::byte *>(scales.data()), static_cast<size_t>(scales.size()));
    const std::span numbers(values.mutable_data(), static_cast<size_t>(values.size()));
    const py::gil_scoped_release release;
    apply_scales(blocks, bytes, first, width, numbers);
}

void rotate(Values & values, int64_t group) {
    if (group < 4 || values.size() % group != 0) {
        throw ShapeError("rotate: ", values.size(), " values are no whole groups of ", group);
    }
    const std::span numbers(values.mutable_data(), static_cast<size_t>(values.size()));
    const py::gil_scoped_release release;
    rotate_groups(group, numbers);
}

py::tuple round_rows(const FloatArray & values) {
    if (values.ndim() != 2) {
        throw ShapeError("round_rows takes a matrix (rows, columns), got ", view_of(values).shape);
    }
    const int64_t rows = values.shape(0);
    const int64_t columns = values.shape(1);
    py::array_t<int8_t> integers({rows, columns});
    py::array_t<float> scales(rows);
    const float * source = values.data();
    int8_t * rounded = integers.mutable_data();
    float * scale = scales.mutable_data();
    {
        const py::gil_scoped_release release;
        for (int64_t row = 0; row < rows; ++row) {
            scale[row] = round_to_int8(source + row * columns, columns, rounded + row * columns);
        }
    }
    return py::make_tuple(integers, scales);
}

}  // namespace

void register_quantize(py::module_ & module) {
    module.def("quantize", &quantize, py::arg("values"), py::arg("dtype"), py::arg("threads") = 1,
               "Encodes float32 rows (rows, columns) with ggml's quantisers; returns uint8 (rows, bytes per row).");
    module.def("dequantize", &dequantize, py::arg("bytes"), py::arg("dtype"), py::arg("rows"), py::arg("columns"),
               py::arg("threads") = 1, "Decodes stored rows to float32 (rows, columns).");
    module.def("scale_blocks", &scale_blocks, py::arg("values").noconvert(), py::arg("first"), py::arg("width"),
               py::arg("scales"), py::arg("dtype"), py::arg("grid"), py::arg("rows"), py::arg("columns"),
               py::arg("tiled"), py::arg("where"),
               "Multiplies elements of a weight, from number `first` on, in place by the scales of their blocks; see\n"
               "TensorTable.add_scales. `where` names file and weight in messages.");
    module.def("rotate", &rotate, py::arg("values").noconvert(), py::arg("group"),
               "Rotates groups of values, in place, as ConvRot does; twice gives back the values.");
    module.def(
        "round_rows", &round_rows, py::arg("values"),
        "Rounds float32 rows (rows, columns) to integers of -127 to 127; returns them (int8) and the scale of each\n"
        "row, which is NaN, and the integers zeros, where a value is not finite.");
}

}  // namespace ltx::bindings
