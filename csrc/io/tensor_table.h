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

struct BlockScales;

struct TensorSource {
    DType dtype;
    Shape shape;
    std::shared_ptr<const MappedFile> file;
    uint64_t offset;
    uint64_t size_bytes;
    // The type a matrix is held in after loading; nothing: as stored.
    std::optional<DType> target;
    // What the stored numbers of packed weights become values by: a factor, then the scales of blocks (null: none),
    // then a rotation of groups of this many columns (0: none), see weights/values.h.
    float scale = 1.0f;
    std::shared_ptr<const BlockScales> scales = nullptr;
    int64_t rotation = 0;

    // Whether the stored numbers are the values.
    bool is_plain() const { return scale == 1.0f && !scales && rotation == 0; }
};

inline constexpr int64_t kScaleTileRows = 128;
inline constexpr int64_t kScaleTileColumns = 4;

// Factors of the blocks of a weight, which counts as a matrix (out, the rest).
struct BlockScales {
    std::string where;    // file and weight, for messages
    TensorSource stored;  // a matrix, one factor a block; tiled: whole tiles
    int64_t rows;         // of a block
    int64_t columns;
    // In the order that matrix units read: one tile of 128 x 4 factors after the other, row by row of tiles; in a tile
    // the factor of row r, column c has place 16 (r mod 32) + 4 (r / 32) + c.
    bool tiled;
};

// What one LoRA adds to a weight of shape (out, in): scale * up * down.
struct LowRankSource {
    TensorSource down;  // (rank, in)
    TensorSource up;    // (out, rank)
    float scale;
};

// A matrix as stored, or the product of two stored ones.
struct MatrixSource {
    TensorSource left;                  // (rows, inner), or the whole (rows, columns)
    std::optional<TensorSource> right;  // (inner, columns)
};

// How the matrices of an adapter make the matrix M that it changes a weight by.
enum class AdapterForm {
    Product,    // the only one
    Hadamard,   // two, multiplied element by element
    Kronecker,  // every element of the first times the whole of the second
};

// What the magnitudes of an adapter are the lengths of.
enum class MagnitudeOf { Rows, Columns };

// What one adapter that is more than a low-rank pair makes of a weight W (out, in): W + strength * D. D is scale * M,
// or with magnitudes m, D = m * V / |V| - W where V = W + scale * M.
struct AdapterSource {
    AdapterForm form;
    std::vector<MatrixSource> matrices;
    float scale;
    float strength;
    std::optional<TensorSource> magnitude;  // (1, out) for rows, (1, in) for columns
    MagnitudeOf magnitude_of;
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

    // Gives a weight of the table scales of its blocks. Throws ArgumentError for a weight that is not there,
    // WeightError for scales that do not cover it.
    void add_scales(const std::string & weight, TensorSource stored, int64_t rows, int64_t columns, bool tiled);

    // Says that the rows of a weight of the table were rotated by groups of `group` columns, a power of four. Throws
    // ArgumentError for a weight that is not there, WeightError for rows that are no whole groups.
    void set_rotation(const std::string & weight, int64_t group);

    // Describes the bytes of a tensor without adding it; maps and checks like `add`.
    TensorSource locate(const std::string & name, DType dtype, Shape shape, const std::string & path, uint64_t offset,
                        uint64_t size_bytes);

    // Several additions to one weight sum up. Throws ArgumentError for a weight that is not in the table, WeightError
    // for shapes that do not fit it.
    void add_low_rank(const std::string & weight, LowRankSource low_rank);

    // What several adapters add to one weight sums up, each reckoned from the weight as stored. Throws like
    // add_low_rank.
    void add_adapter(const std::string & weight, AdapterSource adapter);

    void set_low_rank_mode(LowRankMode mode) { low_rank_mode_ = mode; }

    const std::map<std::string, TensorSource> & tensors() const { return tensors_; }
    const std::map<std::string, std::vector<LowRankSource>> & low_ranks() const { return low_ranks_; }
    const std::map<std::string, std::vector<AdapterSource>> & adapters() const { return adapters_; }
    LowRankMode low_rank_mode() const { return low_rank_mode_; }

private:
    TensorSource & at(const std::string & weight, const char * what);

    std::map<std::string, TensorSource> tensors_;
    std::map<std::string, std::vector<LowRankSource>> low_ranks_;
    std::map<std::string, std::vector<AdapterSource>> adapters_;
    LowRankMode low_rank_mode_ = LowRankMode::Auto;
    std::map<std::string, std::shared_ptr<const MappedFile>> files_;
};

}  // namespace ltx
