#include "base/parallel.h"
#include "bindings/arrays.h"
#include "bindings/register.h"
#include "weights/pack.h"

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

}  // namespace

void register_quantize(py::module_ & module) {
    module.def("quantize", &quantize, py::arg("values"), py::arg("dtype"), py::arg("threads") = 1,
               "Encodes float32 rows (rows, columns) with ggml's quantisers; returns uint8 (rows, bytes per row).");
    module.def("dequantize", &dequantize, py::arg("bytes"), py::arg("dtype"), py::arg("rows"), py::arg("columns"),
               py::arg("threads") = 1, "Decodes stored rows to float32 (rows, columns).");
}

}  // namespace ltx::bindings
