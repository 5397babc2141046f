#include "weights/adapter.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "weights/factors.h"

namespace ltx {

namespace {

// Sums over columns are made in so many parts whatever the number of threads, so that they always round alike.
constexpr int64_t kColumnParts = 64;

double length_of(std::span<const float> values) {
    double sum = 0.0;
    std::ranges::for_each(values, [&](float v) { sum += static_cast<double>(v) * v; });
    return std::sqrt(sum);
}

// A direction of length 0 stays 0.
float ratio(float magnitude, double length) {
    return length > 0.0 ? static_cast<float>(magnitude / length) : 0.0f;
}

}  // namespace

Adapter::Matrix Adapter::decode(const std::string & weight, const MatrixSource & source, int threads) {
    const Shape & left = source.left.shape;
    if (!source.right) {
        return {left[0], 0, left[1], decode_factor(weight, source.left, threads), {}};
    }
    return {left[0], left[1], source.right->shape[1], decode_factor(weight, source.left, threads),
            decode_factor(weight, *source.right, threads)};
}

void Adapter::Matrix::add_rows(int64_t first, int64_t count, float * rows) const {
    if (inner > 0) {
        add_product(left.data() + first * inner, right.data(), inner, width, count, rows);
        return;
    }
    const float * values = left.data() + first * width;
    std::transform(values, values + count * width, rows, rows, std::plus<>());
}

Adapter::Adapter(const std::string & weight, const AdapterSource & source, const Shape & shape, const ReadRows & read,
                 int threads)
    : form_(source.form),
      width_(shape[1]),
      scale_(source.scale),
      strength_(source.strength),
      magnitude_of_(source.magnitude_of) {
    for (const MatrixSource & matrix : source.matrices) {
        matrices_.push_back(decode(weight, matrix, threads));
        Matrix & decoded = matrices_.back();
        if (form_ == AdapterForm::Kronecker && decoded.inner > 0) {
            // Small, and each row of it is needed for many rows of the weight.
            std::vector<float> whole(static_cast<size_t>(decoded.height * decoded.width));
            decoded.add_rows(0, decoded.height, whole.data());
            decoded = {decoded.height, 0, decoded.width, std::move(whole), {}};
        }
    }
    if (source.magnitude) {
        magnitude_ = decode_factor(weight, *source.magnitude, threads);
        if (magnitude_of_ == MagnitudeOf::Columns) {
            measure_columns(shape[0], read, threads);
        }
    }
}

// rows += factor * M, for rows `first`.. of M.
void Adapter::add_change(int64_t first, int64_t count, float factor, float * rows) const {
    if (form_ == AdapterForm::Kronecker) {
        const Matrix & outer = matrices_[0];
        const Matrix & inner = matrices_[1];
        for (int64_t row = 0; row < count; ++row) {
            const float * outer_row = outer.left.data() + (first + row) / inner.height * outer.width;
            const float * inner_row = inner.left.data() + (first + row) % inner.height * inner.width;
            float * out = rows + row * width_;
            for (int64_t i = 0; i < outer.width; ++i) {
                const float scaled = factor * outer_row[i];
                for (int64_t k = 0; k < inner.width; ++k) {
                    *out++ += scaled * inner_row[k];
                }
            }
        }
        return;
    }
    std::vector<float> product(static_cast<size_t>(count * width_));
    matrices_[0].add_rows(first, count, product.data());
    if (form_ == AdapterForm::Hadamard) {
        std::vector<float> second(product.size());
        matrices_[1].add_rows(first, count, second.data());
        std::ranges::transform(product, second, product.begin(), std::multiplies<>());
    }
    for (size_t i = 0; i < product.size(); ++i) {
        rows[i] += factor * product[i];
    }
}

// Divides the magnitudes by the lengths of the columns of V.
void Adapter::measure_columns(int64_t height, const ReadRows & read, int threads) {
    const int64_t parts = std::min(kColumnParts, height);
    std::vector<double> sums(static_cast<size_t>(parts * width_));
    parallel_for(parts, threads, [&](int64_t begin, int64_t end) {
        std::vector<float> rows(static_cast<size_t>(kMergedRows * width_));
        for (int64_t part = begin; part < end; ++part) {
            double * part_sums = sums.data() + part * width_;
            const int64_t last = height * (part + 1) / parts;
            for (int64_t first = height * part / parts; first < last; first += kMergedRows) {
                const int64_t count = std::min(kMergedRows, last - first);
                read(first, {rows.data(), static_cast<size_t>(count * width_)}, count);
                add_change(first, count, scale_, rows.data());
                for (int64_t i = 0; i < count * width_; ++i) {
                    part_sums[i % width_] += static_cast<double>(rows[i]) * rows[i];
                }
            }
        }
    });
    for (int64_t column = 0; column < width_; ++column) {
        double sum = 0.0;
        for (int64_t part = 0; part < parts; ++part) {
            sum += sums[static_cast<size_t>(part * width_ + column)];
        }
        magnitude_[static_cast<size_t>(column)] = ratio(magnitude_[static_cast<size_t>(column)], std::sqrt(sum));
    }
}

void Adapter::add_to(int64_t first, int64_t count, const float * stored, float * rows) const {
    if (!has_magnitude()) {
        add_change(first, count, scale_ * strength_, rows);
        return;
    }
    std::vector<float> changed(stored, stored + count * width_);
    add_change(first, count, scale_, changed.data());
    for (int64_t row = 0; row < count; ++row) {
        const std::span<const float> values(changed.data() + row * width_, static_cast<size_t>(width_));
        const bool by_rows = magnitude_of_ == MagnitudeOf::Rows;
        const float factor = by_rows ? ratio(magnitude_[static_cast<size_t>(first + row)], length_of(values)) : 0.0f;
        for (int64_t i = row * width_, column = 0; column < width_; ++i, ++column) {
            const float target = (by_rows ? factor : magnitude_[static_cast<size_t>(column)]) * changed[i];
            rows[i] += strength_ * (target - stored[i]);
        }
    }
}

MergedChanges::MergedChanges(const std::string & weight, const std::vector<LowRankSource> * low_ranks,
                             const std::vector<AdapterSource> * adapters, const Shape & shape,
                             const Adapter::ReadRows & read, int threads)
    : width_(shape[1]) {
    if (low_ranks) {
        low_rank_.emplace(weight, *low_ranks, threads);
    }
    if (adapters) {
        for (const AdapterSource & adapter : *adapters) {
            adapters_.emplace_back(weight, adapter, shape, read, threads);
        }
    }
}

void MergedChanges::add_to(int64_t first, int64_t count, float * rows) const {
    std::vector<float> stored;
    if (std::ranges::any_of(adapters_, &Adapter::has_magnitude)) {
        stored.assign(rows, rows + count * width_);
    }
    if (low_rank_) {
        low_rank_->add_to(first, count, rows);
    }
    for (const Adapter & adapter : adapters_) {
        adapter.add_to(first, count, stored.data(), rows);
    }
}

}  // namespace ltx
