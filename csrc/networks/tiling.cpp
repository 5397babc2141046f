#include "networks/tiling.h"

#include <algorithm>
#include <cmath>

namespace ltx {

std::vector<AxisTile> split_axis(int64_t latents, int64_t size, int64_t overlap, int64_t scale) {
    if (latents <= size) {
        return {{0, latents, std::vector<float>(static_cast<size_t>(latents * scale), 1.0f)}};
    }
    const int64_t step = size - overlap;
    const int64_t count = (latents - overlap + step - 1) / step;
    const int64_t ramp = overlap * scale;
    std::vector<AxisTile> tiles;
    std::vector<float> sums(static_cast<size_t>(latents * scale));
    for (int64_t i = 0; i < count; ++i) {
        const int64_t start = i * step;
        const int64_t end = i == count - 1 ? latents : start + size;
        AxisTile tile{start, end - start, {}};
        const int64_t pixels = tile.count * scale;
        for (int64_t p = 0; p < pixels; ++p) {
            const float rising = i > 0 ? static_cast<float>(p + 1) / static_cast<float>(ramp + 1) : 1.0f;
            const float falling = i < count - 1 ? static_cast<float>(pixels - p) / static_cast<float>(ramp + 1) : 1.0f;
            tile.weights.push_back(std::min(rising, 1.0f) * std::min(falling, 1.0f));
            sums[static_cast<size_t>(start * scale + p)] += tile.weights.back();
        }
        tiles.push_back(std::move(tile));
    }
    for (AxisTile & tile : tiles) {
        for (size_t p = 0; p < tile.weights.size(); ++p) {
            tile.weights[p] /= std::max(sums[static_cast<size_t>(tile.start * scale) + p], 1e-8f);
        }
    }
    return tiles;
}

int64_t tile_size(int64_t latents, int64_t longest, int64_t size, int64_t overlap) {
    const double scaled = static_cast<double>(size) * static_cast<double>(latents) / static_cast<double>(longest);
    return std::max({int64_t{2}, overlap + 1, static_cast<int64_t>(std::nearbyint(scaled))});
}

}  // namespace ltx
