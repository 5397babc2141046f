// Adapters that are more than a low-rank pair (LoHa, LoKr, DoRA): merged into the rows of a weight at load.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/tensor_table.h"
#include "weights/low_rank.h"

namespace ltx {

// One adapter of one weight (out, in), decoded.
class Adapter {
public:
    // Writes `count` rows of the weight as stored from `first` on.
    using ReadRows = std::function<void(int64_t first, std::span<float> rows, int64_t count)>;

    // `weight` is for messages. Where lengths of columns are needed, reads the weight once. Throws like decode_factor.
    Adapter(const std::string & weight, const AdapterSource & source, const Shape & shape, const ReadRows & read,
            int threads);

    bool has_magnitude() const { return !magnitude_.empty(); }

    // Adds what the adapter changes to rows `first`.. of the weight. `stored`: the same rows before any change, read
    // only with a magnitude. Calls from several threads may run at once.
    void add_to(int64_t first, int64_t count, const float * stored, float * rows) const;

private:
    struct Matrix {
        int64_t height;
        int64_t inner;  // 0: `left` is the whole matrix
        int64_t width;
        std::vector<float> left;
        std::vector<float> right;

        // Adds rows `first`.. to `rows` (count, width).
        void add_rows(int64_t first, int64_t count, float * rows) const;
    };

    static Matrix decode(const std::string & weight, const MatrixSource & source, int threads);
    void add_change(int64_t first, int64_t count, float factor, float * rows) const;
    void measure_columns(int64_t height, const ReadRows & read, int threads);

    AdapterForm form_;
    std::vector<Matrix> matrices_;
    int64_t width_;
    float scale_;
    float strength_;
    std::vector<float> magnitude_;  // empty: none. Of columns: divided by their lengths
    MagnitudeOf magnitude_of_;
};

// Everything that is merged into the rows of one weight.
class MergedChanges {
public:
    // Either list may be null. See Adapter.
    MergedChanges(const std::string & weight, const std::vector<LowRankSource> * low_ranks,
                  const std::vector<AdapterSource> * adapters, const Shape & shape, const Adapter::ReadRows & read,
                  int threads);

    // Turns `count` rows from `first` on, as stored, into the changed ones. Calls from several threads may run at once.
    void add_to(int64_t first, int64_t count, float * rows) const;

private:
    std::optional<LowRankFactors> low_rank_;
    std::vector<Adapter> adapters_;
    int64_t width_;
};

}  // namespace ltx
