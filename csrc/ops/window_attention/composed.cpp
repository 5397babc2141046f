// Windowed attention from stock operations. Queries that lie together form a tile, which attends to the box of all keys
// that any of them sees; a mask hides from each query what lies outside of its window.
#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "graph/product.h"
#include "ops/window_attention/window_attention.h"

namespace ltx {

namespace {

// Queries of a tile along time, height and width. With one time a box holds no time that some of its queries miss.
constexpr GridSize kTile{1, 8, 8};
// What is computed at once takes so much for gathered keys, values and their weights...
constexpr int64_t kPieceBytes = 128 << 20;
// ...or more where that would be too many nodes.
constexpr int64_t kMaxPieces = 128;

// One axis of the grid. The last tile begins earlier where it would pass the end; its queries are computed twice then.
struct Axis {
    int64_t queries;
    int64_t keys;
    int64_t window;
    int64_t tile;  // queries of a tile

    int64_t tiles() const { return (queries + tile - 1) / tile; }
    int64_t first(int64_t number) const { return std::min(number * tile, queries - tile); }
    // Windows are shifted inwards at the borders; where there are more keys than queries, none has to be.
    int64_t start(int64_t query) const {
        return keys != queries ? query : std::clamp<int64_t>(query - window / 2, 0, keys - window);
    }
    int64_t box() const { return std::min(keys, tile + window - 1); }
    int64_t box_start(int64_t number) const { return std::min(start(first(number)), keys - box()); }
    // Where in a tile's box the window of each of its queries starts.
    std::vector<int64_t> pattern(int64_t number) const {
        std::vector<int64_t> starts;
        for (int64_t i = 0; i < tile; ++i) {
            starts.push_back(start(first(number) + i) - box_start(number));
        }
        return starts;
    }
    // Whether a query of a tile sees a key of its box.
    bool sees(const std::vector<int64_t> & pattern, int64_t query, int64_t key) const {
        const int64_t place = key - pattern[static_cast<size_t>(query)];
        return place >= 0 && place < window;
    }
};

// How queries are cut. Cells, tiles and places in a tile or a box are counted with width fastest.
struct Tiling {
    Axis time;
    Axis height;
    Axis width;
    int64_t margin;

    int64_t tiles() const { return time.tiles() * height.tiles() * width.tiles(); }
    int64_t queries() const { return time.tile * height.tile * width.tile; }  // of a tile
    int64_t keys() const { return time.box() * height.box() * width.box(); }  // of a box
    std::string name(const char * of) const {
        std::string text = of;
        for (const Axis & axis : {time, height, width}) {
            for (const int64_t number : {axis.queries, axis.keys, axis.window}) {
                text.append(" ").append(std::to_string(number));
            }
        }
        return text;
    }
};

// Calls `visit` with every place of a box of these extents, in order.
void for_each_place(int64_t times, int64_t rows, int64_t columns,
                    const std::function<void(int64_t, int64_t, int64_t)> & visit) {
    for (int64_t time = 0; time < times; ++time) {
        for (int64_t row = 0; row < rows; ++row) {
            for (int64_t column = 0; column < columns; ++column) {
                visit(time, row, column);
            }
        }
    }
}

// The cells of each tile's keys, or queries, among those of the grid of keys.
std::vector<int32_t> gathered_cells(const Tiling & tiling, bool keys) {
    const auto extent = [&](const Axis & axis) { return keys ? axis.box() : axis.tile; };
    const auto begin = [&](const Axis & axis, int64_t tile) { return keys ? axis.box_start(tile) : axis.first(tile); };
    std::vector<int32_t> cells;
    for_each_place(tiling.time.tiles(), tiling.height.tiles(), tiling.width.tiles(),
                   [&](int64_t tile_t, int64_t tile_h, int64_t tile_w) {
                       const int64_t t = begin(tiling.time, tile_t);
                       const int64_t h = begin(tiling.height, tile_h);
                       const int64_t w = begin(tiling.width, tile_w) + (keys ? 0 : tiling.margin);
                       for_each_place(extent(tiling.time), extent(tiling.height), extent(tiling.width),
                                      [&](int64_t time, int64_t row, int64_t column) {
                                          const int64_t line = (t + time) * tiling.height.keys + h + row;
                                          cells.push_back(static_cast<int32_t>(line * tiling.width.keys + w + column));
                                      });
                   });
    return cells;
}

// For each cell with a query, the row of its result among those of all tiles.
std::vector<int32_t> result_rows(const Tiling & tiling) {
    std::vector<int32_t> rows;
    for_each_place(tiling.time.queries, tiling.height.queries, tiling.width.queries,
                   [&](int64_t time, int64_t row, int64_t column) {
                       int64_t tile = 0;
                       int64_t inside = 0;
                       for (const auto & [axis, index] : {std::pair(tiling.time, time), std::pair(tiling.height, row),
                                                          std::pair(tiling.width, column)}) {
                           const int64_t number = index / axis.tile;
                           tile = tile * axis.tiles() + number;
                           inside = inside * axis.tile + index - axis.first(number);
                       }
                       rows.push_back(static_cast<int32_t>(tile * tiling.queries() + inside));
                   });
    return rows;
}

// Where the windows of a tile's queries start in its box along an axis. Tiles that lie alike to the borders share one.
struct Patterns {
    std::vector<std::vector<int64_t>> starts;
    std::vector<int64_t> of_tile;

    explicit Patterns(const Axis & axis) {
        for (int64_t number = 0; number < axis.tiles(); ++number) {
            const std::vector<int64_t> pattern = axis.pattern(number);
            const auto known = std::ranges::find(starts, pattern);
            of_tile.push_back(known - starts.begin());
            if (known == starts.end()) {
                starts.push_back(pattern);
            }
        }
    }
    int64_t count() const { return static_cast<int64_t>(starts.size()); }
};

// There is a mask for each combination of patterns.
struct Masks {
    Patterns time;
    Patterns height;
    Patterns width;

    explicit Masks(const Tiling & tiling) : time(tiling.time), height(tiling.height), width(tiling.width) {}
    int64_t count() const { return time.count() * height.count() * width.count(); }
};

std::vector<int32_t> masks_of_tiles(const Tiling & tiling) {
    const Masks masks(tiling);
    const auto of = [](const Patterns & patterns, int64_t tile) { return patterns.of_tile[static_cast<size_t>(tile)]; };
    std::vector<int32_t> numbers;
    for_each_place(tiling.time.tiles(), tiling.height.tiles(), tiling.width.tiles(),
                   [&](int64_t t, int64_t h, int64_t w) {
                       const int64_t line = of(masks.time, t) * masks.height.count() + of(masks.height, h);
                       numbers.push_back(static_cast<int32_t>(line * masks.width.count() + of(masks.width, w)));
                   });
    return numbers;
}

// (masks, queries, keys): 0 or minus infinity
std::vector<float> mask_values(const Tiling & tiling) {
    const Masks masks(tiling);
    std::vector<float> values;
    for_each_place(masks.time.count(), masks.height.count(), masks.width.count(), [&](int64_t t, int64_t h, int64_t w) {
        const auto & times = masks.time.starts[static_cast<size_t>(t)];
        const auto & rows = masks.height.starts[static_cast<size_t>(h)];
        const auto & columns = masks.width.starts[static_cast<size_t>(w)];
        for_each_place(tiling.time.tile, tiling.height.tile, tiling.width.tile, [&](int64_t i, int64_t j, int64_t k) {
            const auto add_key = [&](int64_t time, int64_t row, int64_t column) {
                const bool seen = tiling.time.sees(times, i, time) && tiling.height.sees(rows, j, row) &&
                                  tiling.width.sees(columns, k, column);
                values.push_back(seen ? 0.0f : -std::numeric_limits<float>::infinity());
            };
            for_each_place(tiling.time.box(), tiling.height.box(), tiling.width.box(), add_key);
        });
    });
    return values;
}

// What tiles gather by, and their masks.
struct Gathering {
    ggml_tensor * queries;  // I32 [queries of a tile, tiles]
    ggml_tensor * keys;     // I32 [keys of a box, tiles]
    ggml_tensor * of_tile;  // I32 [tiles]
    ggml_tensor * masks;    // F32 [keys * queries, masks]
    ggml_tensor * results;  // I32 [cells with queries]
};

Gathering gathering(Graph & graph, const Tiling & tiling) {
    const auto list = [&](const char * of, int64_t width, int64_t rows, auto values) {
        const std::function<std::vector<int32_t>()> made = [=] { return values(tiling); };
        return graph.constant(tiling.name(of), width, rows, made);
    };
    const auto cells_of_queries = [](const Tiling & of) { return gathered_cells(of, /*keys=*/false); };
    const auto cells_of_keys = [](const Tiling & of) { return gathered_cells(of, /*keys=*/true); };
    const int64_t cells = tiling.time.queries * tiling.height.queries * tiling.width.queries;
    const std::function<std::vector<float>()> masks = [=] { return mask_values(tiling); };
    return {
        .queries = list("window queries", tiling.queries(), tiling.tiles(), cells_of_queries),
        .keys = list("window keys", tiling.keys(), tiling.tiles(), cells_of_keys),
        .of_tile = list("window masks of tiles", tiling.tiles(), 1, &masks_of_tiles),
        .masks =
            graph.constant(tiling.name("window masks"), tiling.keys() * tiling.queries(), Masks(tiling).count(), masks),
        .results = list("window results", cells, 1, &result_rows),
    };
}

// Tiles [first, first + count) -> [channels, queries of those tiles]
ggml_tensor * attend(Graph & graph, ggml_tensor * qkv, int64_t head_dim, const Tiling & tiling, const Gathering & by,
                     int64_t first, int64_t count) {
    ggml_context * ctx = graph.ctx();
    const int64_t channels = qkv->ne[0] / 3;
    const int64_t heads = channels / head_dim;
    const int64_t queries = tiling.queries();
    const int64_t keys = tiling.keys();
    const auto gathered = [&](int64_t from, int64_t width, ggml_tensor * cells, int64_t per_tile) {
        ggml_tensor * rows = ggml_view_2d(ctx, qkv, width, qkv->ne[1] * qkv->ne[2] * qkv->ne[3], qkv->nb[1],
                                          static_cast<size_t>(from) * qkv->nb[0]);
        ggml_tensor * list =
            ggml_view_1d(ctx, cells, per_tile * count, static_cast<size_t>(per_tile * first) * cells->nb[0]);
        return ggml_get_rows(ctx, rows, list);  // ne: [width, per_tile * count]
    };
    // `channels` of gathered rows from number `from` on, ne: [head_dim, heads, per_tile, count]
    const auto per_head = [&](ggml_tensor * rows, int64_t from, int64_t per_tile) {
        return ggml_view_4d(ctx, rows, head_dim, heads, per_tile, count, static_cast<size_t>(head_dim) * rows->nb[0],
                            rows->nb[1], static_cast<size_t>(per_tile) * rows->nb[1],
                            static_cast<size_t>(from) * rows->nb[0]);
    };
    ggml_tensor * q = per_head(gathered(0, channels, by.queries, queries), 0, queries);
    ggml_tensor * both = gathered(channels, 2 * channels, by.keys, keys);
    ggml_tensor * k = per_head(both, 0, keys);
    ggml_tensor * v = per_head(both, channels, keys);
    q = ggml_cont(ctx, ggml_permute(ctx, q, 0, 2, 1, 3));  // ne: [head_dim, queries, heads, count]
    k = ggml_cont(ctx, ggml_permute(ctx, k, 0, 2, 1, 3));  // ne: [head_dim, keys, heads, count]
    v = ggml_cont(ctx, ggml_permute(ctx, v, 1, 2, 0, 3));  // ne: [keys, head_dim, heads, count]
    ggml_tensor * mask = ggml_get_rows(
        ctx, by.masks, ggml_view_1d(ctx, by.of_tile, count, static_cast<size_t>(first) * by.of_tile->nb[0]));
    mask = ggml_reshape_4d(ctx, mask, keys, queries, 1, count);
    // ne: [keys, queries, heads, count]
    ggml_tensor * weights = ggml_soft_max_ext(ctx, product(graph, k, q), mask, /*scale=*/1.0f, /*max_bias=*/0.0f);
    ggml_tensor * seen = ggml_permute(ctx, product(graph, v, weights), 0, 2, 1, 3);
    return ggml_reshape_2d(ctx, ggml_cont(ctx, seen), channels, queries * count);
}

// Tiles [first, last) in pieces of at most `most`, side by side. Halves are joined, so that no row is copied often.
ggml_tensor * attend_pieces(int64_t first, int64_t last, int64_t most, ggml_context * ctx,
                            const std::function<ggml_tensor *(int64_t first, int64_t count)> & piece) {
    if (last - first <= most) {
        return piece(first, last - first);
    }
    const int64_t pieces = (last - first + most - 1) / most;
    const int64_t middle = first + pieces / 2 * most;
    ggml_tensor * left = attend_pieces(first, middle, most, ctx, piece);
    return ggml_concat(ctx, left, attend_pieces(middle, last, most, ctx, piece), 1);
}

}  // namespace

ggml_tensor * window_attention_composed(Graph & graph, ggml_tensor * qkv, int64_t head_dim, GridSize window,
                                        int32_t margin) {
    const auto axis = [](int64_t queries, int64_t keys, int64_t seen, int64_t tile) {
        return Axis{queries, keys, seen, std::min(tile, queries)};
    };
    const int64_t columns = qkv->ne[1] - 2 * margin;
    const Tiling tiling{axis(qkv->ne[3], qkv->ne[3], window.time, kTile.time),
                        axis(qkv->ne[2], qkv->ne[2], window.height, kTile.height),
                        axis(columns, qkv->ne[1], window.width, kTile.width), margin};
    const Gathering by = gathering(graph, tiling);
    const int64_t channels = qkv->ne[0] / 3;
    // Keys and values as gathered and by heads; weights of each head, and the mask.
    const int64_t floats = tiling.keys() * (4 * channels + tiling.queries() * (channels / head_dim + 1));
    const int64_t fitting = kPieceBytes / (floats * static_cast<int64_t>(sizeof(float)));
    const int64_t most = std::max({fitting, (tiling.tiles() + kMaxPieces - 1) / kMaxPieces, int64_t{1}});
    ggml_tensor * all = attend_pieces(0, tiling.tiles(), most, graph.ctx(), [&](int64_t first, int64_t count) {
        return attend(graph, qkv, head_dim, tiling, by, first, count);
    });
    all = ggml_get_rows(graph.ctx(), all, by.results);
    return ggml_reshape_4d(graph.ctx(), all, channels, columns, qkv->ne[2], qkv->ne[3]);
}

}  // namespace ltx
