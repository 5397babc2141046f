// Where each stored tensor lies: the list that Python makes from file headers and the weight store claims from.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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

// What one LoRA adds to a weight of shape (out, in): scale * up * down.
struct LowRankSource {
    TensorSource down;  // (rank, in)
    TensorSource up;    // (out, rank)
    float scale;
};

// How low-rank additions reach the result of a product.
enum class LowRankMode {
    Auto,     // merged into weights that keep them, beside weights of few bits
    Merge,    // added to the weight when it is loaded: no cost per run, rounded to the weight's type
    RunTime,  // as two thin products beside the weight, which stays as it is
};

class TensorTable {
public:
    // Maps the file on first mention. Throws CheckpointError when the bytes lie outside the file or do not match shape
    // and dtype, ArgumentError for a name given twice.
    void add(const std::string & name, DType dtype, Shape shape, const std::string & path, uint64_t offset,
             uint64_t size_bytes, std::optional<DType> target, float scale);

    // Describes the bytes of a tensor without adding it; maps and checks like `add`.
    TensorSource locate(const std::string & name, DType dtype, Shape shape, const std::string & path, uint64_t offset,
                        uint64_t size_bytes);

    // Several additions to one weight sum up. Throws ArgumentError for a weight that is not in the table, WeightError
    // for shapes that do not fit it.
    void add_low_rank(const std::string & weight, LowRankSource low_rank);

    void set_low_rank_mode(LowRankMode mode) { low_rank_mode_ = mode; }

    const std::map<std::string, TensorSource> & tensors() const { return tensors_; }
    const std::map<std::string, std::vector<LowRankSource>> & low_ranks() const { return low_ranks_; }
    LowRankMode low_rank_mode() const { return low_rank_mode_; }

private:
    std::map<std::string, TensorSource> tensors_;
    std::map<std::string, std::vector<LowRankSource>> low_ranks_;
    LowRankMode low_rank_mode_ = LowRankMode::Auto;
    std::map<std::string, std::shared_ptr<const MappedFile>> files_;
};

}  // namespace ltx
