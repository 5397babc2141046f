#include "io/tensor_table.h"

#include "base/error.h"

namespace ltx {

namespace {

Shape shape_of(const MatrixSource & matrix) {
    const Shape & left = matrix.left.shape;
    if (!matrix.right) {
        return left;
    }
    const Shape & right = matrix.right->shape;
    const bool fits = left.size() == 2 && right.size() == 2 && left[1] == right[0] && left[1] > 0;
    return fits ? Shape{left[0], right[1]} : Shape{};
}

// Shape of the matrix that an adapter changes a weight by; empty where its matrices do not belong together.
Shape shape_of(const AdapterSource & adapter) {
    const size_t expected = adapter.form == AdapterForm::Product ? 1 : 2;
    if (adapter.matrices.size() != expected) {
        return {};
    }
    const Shape first = shape_of(adapter.matrices.front());
    const Shape second = shape_of(adapter.matrices.back());
    if (first.size() != 2 || second.size() != 2) {
        return {};
    }
    if (adapter.form == AdapterForm::Kronecker) {
        return {first[0] * second[0], first[1] * second[1]};
    }
    return first == second ? first : Shape{};
}

}  // namespace

TensorSource TensorTable::locate(const std::string & name, DType dtype, Shape shape, const std::string & path,
                                 uint64_t offset, uint64_t size_bytes) {
    auto & file = files_[path];
    if (!file) {
        file = MappedFile::open(path);
    }
    const int64_t elements = element_count(shape);
    const int64_t row = shape.empty() ? 1 : shape.back();
    const int64_t expected = row == 0 ? 0 : elements / row * row_bytes(dtype, row);
    if (size_bytes != static_cast<uint64_t>(expected)) {
        throw CheckpointError(path, ": tensor '", name, "' of shape ", shape, " and type ", to_string(dtype), " needs ",
                              expected, " bytes, the file gives ", size_bytes);
    }
    file->view(offset, size_bytes);
    return {dtype, std::move(shape), file, offset, size_bytes, std::nullopt, 1.0f};
}

void TensorTable::add(const std::string & name, DType dtype, Shape shape, const std::string & path, uint64_t offset,
                      uint64_t size_bytes, std::optional<DType> target, float scale) {
    TensorSource source = locate(name, dtype, std::move(shape), path, offset, size_bytes);
    source.target = target;
    source.scale = scale;
    if (!tensors_.emplace(name, std::move(source)).second) {
        throw ArgumentError("tensor '", name, "' was given twice");
    }
}

void TensorTable::add_low_rank(const std::string & weight, LowRankSource low_rank) {
    const auto found = tensors_.find(weight);
    if (found == tensors_.end()) {
        throw ArgumentError("tensor '", weight, "' is given a low-rank addition, but is not in the table");
    }
    const Shape & down = low_rank.down.shape;
    const Shape & up = low_rank.up.shape;
    if (down.size() != 2 || up.size() != 2 || up[1] != down[0] || down[0] < 1 ||
        found->second.shape != Shape{up[0], down[1]}) {
        throw WeightError("the low-rank product of ", up, " and ", down, " does not fit '", weight, "' of shape ",
                          found->second.shape);
    }
    low_ranks_[weight].push_back(std::move(low_rank));
}

void TensorTable::add_adapter(const std::string & weight, AdapterSource adapter) {
    const auto found = tensors_.find(weight);
    if (found == tensors_.end()) {
        throw ArgumentError("tensor '", weight, "' is given an adapter, but is not in the table");
    }
    const Shape & shape = found->second.shape;
    if (shape.size() != 2 || shape_of(adapter) != shape) {
        throw WeightError("the matrices of an adapter do not make one that fits '", weight, "' of shape ", shape);
    }
    if (adapter.magnitude) {
        const Shape expected{1, adapter.magnitude_of == MagnitudeOf::Rows ? shape[0] : shape[1]};
        if (adapter.magnitude->shape != expected) {
            throw WeightError("the magnitudes of '", weight, "' have shape ", adapter.magnitude->shape, ", expected ",
                              expected);
        }
    }
    adapters_[weight].push_back(std::move(adapter));
}

}  // namespace ltx
