#include "io/tensor_table.h"

#include <algorithm>

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
    // Blocks may straddle rows: a kernel that was stored flat is one row.
    const int64_t expected = row_bytes(dtype, element_count(shape));
    if (size_bytes != static_cast<uint64_t>(expected)) {
        throw CheckpointError(path, ": tensor '", name, "' of shape ", shape, " and type ", to_string(dtype), " needs ",
                              expected, " bytes, the file gives ", size_bytes);
    }
    file->view(offset, size_bytes);
    return {dtype, std::move(shape), file, offset, size_bytes, std::nullopt};
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

TensorSource & TensorTable::at(const std::string & weight, const char * what) {
    const auto found = tensors_.find(weight);
    if (found == tensors_.end()) {
        throw ArgumentError("tensor '", weight, "' is given ", what, ", but is not in the table");
    }
    return found->second;
}

void TensorTable::add_scales(const std::string & weight, TensorSource stored, int64_t rows, int64_t columns,
                             bool tiled) {
    TensorSource & source = at(weight, "scales");
    const Shape & grid = stored.shape;
    if (source.shape.empty() || grid.size() != 2 || rows < 1 || columns < 1) {
        throw WeightError("the scales of '", weight, "' are no matrix, or it is none");
    }
    const auto blocks = [](int64_t elements, int64_t of, int64_t tile) {
        const int64_t count = (elements + of - 1) / of;
        return (count + tile - 1) / tile * tile;
    };
    const int64_t out = source.shape[0];
    const Shape expected{
        blocks(out, rows, tiled ? kScaleTileRows : 1),
        blocks(element_count(source.shape) / std::max<int64_t>(out, 1), columns, tiled ? kScaleTileColumns : 1)};
    if (grid != expected) {
        throw WeightError("the scales of '", weight, "' of shape ", source.shape, " have shape ", grid, ", expected ",
                          expected);
    }
    std::string where = stored.file->path() + ": '" + weight + "'";
    source.scales =
        std::make_shared<const BlockScales>(BlockScales{std::move(where), std::move(stored), rows, columns, tiled});
}

void TensorTable::set_rotation(const std::string & weight, int64_t group) {
    TensorSource & source = at(weight, "a rotation");
    int64_t power = 1;
    while (power < group) {
        power *= 4;
    }
    if (group < 4 || power != group || source.shape.size() != 2 || source.shape[1] % group != 0) {
        throw WeightError("'", weight, "' of shape ", source.shape, " cannot have been rotated by groups of ", group,
                          " columns");
    }
    source.rotation = group;
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
