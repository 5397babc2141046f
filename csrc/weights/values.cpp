#include "weights/values.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "kernels/rotation.h"
#include "weights/pack.h"

namespace ltx {

namespace {

// Factors of the blocks `first` to `last` of row `row` of the grid; `factors` has room for whole tiles.
std::span<const float> read_scales(const BlockScales & scales, std::span<const std::byte> stored, int64_t row,
                                   int64_t first, int64_t last, std::vector<float> & factors) {
    const DType dtype = scales.stored.dtype;
    const int64_t columns = scales.stored.shape[1];
    if (!scales.tiled) {
        factors.resize(static_cast<size_t>(last - first + 1));
        to_float(dtype, stored, row * columns + first, factors.data(), last - first + 1);
        return factors;
    }
    constexpr int64_t kRows = kScaleTileRows;
    constexpr int64_t kColumns = kScaleTileColumns;
    const int64_t first_tile = first / kColumns;
    const int64_t tiles = last / kColumns - first_tile + 1;
    factors.resize(static_cast<size_t>(tiles * kColumns));
    for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t begin = (row / kRows * (columns / kColumns) + first_tile + tile) * kRows * kColumns;
        const int64_t place = row % 32 * 16 + row % kRows / 32 * kColumns;
        to_float(dtype, stored, begin + place, factors.data() + tile * kColumns, kColumns);
    }
    return std::span<const float>(factors).subspan(static_cast<size_t>(first % kColumns),
                                                   static_cast<size_t>(last - first + 1));
}

}  // namespace

void apply_scales(const BlockScales & scales, std::span<const std::byte> stored, int64_t first, int64_t width,
                  std::span<float> values) {
    const auto end = first + static_cast<int64_t>(values.size());
    std::vector<float> factors;
    for (int64_t position = first; position < end;) {
        const int64_t row = position / width;
        const int64_t begin = position % width;
        const int64_t count = std::min(width - begin, end - position);
        const int64_t block = begin / scales.columns;
        const auto found =
            read_scales(scales, stored, row / scales.rows, block, (begin + count - 1) / scales.columns, factors);
        const auto odd = std::ranges::find_if(found, [](float f) { return !std::isfinite(f) || f < 0.0f; });
        if (odd != found.end()) {
            throw CheckpointError(scales.where, " has a scale of ", *odd,
                                  "; scales are finite and not negative, so the file is damaged");
        }
        float * part = values.data() + (position - first);
        for (int64_t i = 0; i < count;) {
            const int64_t column = begin + i;
            const int64_t stop = std::min(count, (column / scales.columns + 1) * scales.columns - begin);
            const float factor = found[static_cast<size_t>(column / scales.columns - block)];
            for (; i < stop; ++i) {
                part[i] *= factor;
            }
        }
        position += count;
    }
}

void decode_values(const TensorSource & source, int64_t first, std::span<float> values) {
    to_float(source.dtype, source.file->view(source.offset, source.size_bytes), first, values.data(),
             static_cast<int64_t>(values.size()));
    if (source.scale != 1.0f) {
        std::ranges::for_each(values, [&](float & v) { v *= source.scale; });
    }
    if (source.scales) {
        const TensorSource & stored = source.scales->stored;
        apply_scales(*source.scales, stored.file->view(stored.offset, stored.size_bytes), first,
                     element_count(source.shape) / source.shape[0], values);
    }
    if (source.rotation != 0) {
        rotate_groups(source.rotation, values);
    }
}

}  // namespace ltx
