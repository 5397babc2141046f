#include "io/tensor_table.h"

#include "base/error.h"

namespace ltx {

void TensorTable::add(const std::string & name, DType dtype, Shape shape, const std::string & path, uint64_t offset,
                      uint64_t size_bytes, std::optional<DType> target, float scale) {
    auto & file = files_[path];
    if (!file) {
        file = MappedFile::open(path);
    }
    const int64_t elements = element_count(shape);
    const int64_t row = shape.empty() ? 1 : shape.back();
    const int64_t expected = row == 0 ? 0 : elements / row * row_bytes(dtype, row);
    if (size_bytes != static_cast<uint64_t>(expected)) {
        throw CheckpointError(path + ": tensor '" + name + "' of shape " + to_string(shape) + " and type " +
                              to_string(dtype) + " needs " + std::to_string(expected) + " bytes, the file gives " +
                              std::to_string(size_bytes));
    }
    file->view(offset, size_bytes);
    const bool added =
        tensors_.emplace(name, TensorSource{dtype, std::move(shape), file, offset, size_bytes, target, scale}).second;
    if (!added) {
        throw ArgumentError("tensor '" + name + "' was given twice");
    }
}

}  // namespace ltx
