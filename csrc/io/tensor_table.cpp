#include "io/tensor_table.h"

#include "base/error.h"

namespace ltx {

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

}  // namespace ltx
