// Where each stored tensor lies: the list that Python makes from file headers and the weight store claims from.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/dtype.h"
#include "base/shape.h"
#include "io/mapped_file.h"

namespace ltx {

struct TensorSource {
    DType dtype;
    Shape shape;
    std::shared_ptr<const MappedFile> file;
    uint64_t offset;
    uint64_t size_bytes;
    // The type a matrix is held in after loading; nothing: as stored.
    std::optional<DType> target;
    // Factor of scaled fp8 weights.
    float scale;
};

class TensorTable {
public:
    // Maps the file on first mention. Throws CheckpointError when the bytes lie outside the file or do not match shape
    // and dtype, ArgumentError for a name given twice.
    void add(const std::string & name, DType dtype, Shape shape, const std::string & path, uint64_t offset,
             uint64_t size_bytes, std::optional<DType> target, float scale);

    const std::map<std::string, TensorSource> & tensors() const { return tensors_; }

private:
    std::map<std::string, TensorSource> tensors_;
    std::map<std::string, std::shared_ptr<const MappedFile>> files_;
};

}  // namespace ltx
