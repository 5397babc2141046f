#include <algorithm>
#include <atomic>
#include <string_view>
#include <utility>
#include <vector>

#include "base/cpuid.h"
#include "base/stopping.h"
#include "kernels/gemm/gemm.h"
#include "ops/window_attention/window_attention.h"
#include "ops/window_attention/window_kernel.h"

namespace ltx {

namespace {

// Cells of a block of queries, whose tiles share the keys that are packed for it: so many that few keys are packed for
// several blocks, so few that those of one time stay in the second-level cache.
constexpr int64_t kBlockHeight = 8;
constexpr int64_t kBlockWidth = 16;

#if defined(LTX_GEMM_KERNELS)
// The kernel of kernels/gemm that uses matrix registers.
constexpr std::string_view kAmxKernelName = "amx_bf16";
#endif

// Vectors of 8 on whatever the baseline offers.
const WindowKernel kBaseline{1, 2, 4, &attend_plane<8, 6, 6>};

struct Range {
    int64_t begin;
    int64_t end;
    int64_t size() const { return end - begin; }
};

// One axis of the grid: which keys its queries see.
struct Axis {
    int64_t queries;
    int64_t keys;
    int64_t window;

    // Windows are shifted inwards at the borders; where there are more keys than queries, none has to be.
    int64_t start(int64_t query) const {
        return keys != queries ? query : std::clamp<int64_t>(query - window / 2, 0, keys - window);
    }
    Range keys_of(Range range) const { return {start(range.begin), start(range.end - 1) + window}; }
    bool sees(int64_t query, int64_t key) const { return key >= start(query) && key < start(query) + window; }
};

struct Grid {
    Axis time;
    Axis height;
    Axis width;
};

// A tile of queries: its place, which keys its lanes see, and where its sums lie.
struct QueryTile {
    Range time;
    Range height;
    Range width;
    WindowQueries sums;
    int32_t * sees_rows;
    int32_t * sees_columns;
};

// The queries of one head in a block of the grid. One object works on one thread, block after block.
class BlockAttention {
public:
    BlockAttention(const ggml_tensor * node, const Grid & grid, const WindowKernel & kernel);

    // Goes to other rows, columns or another head, of which `channel` is the first one.
    void move(const Range & height, const Range & width, int64_t channel);

    // The queries of these times; calls go forward in time.
    void attend(const Range & time);

private:
    // Queries, keys or values (0, 1, 2) of a cell, in columns of keys.
    float * cell(int part, int64_t time, int64_t row, int64_t column) const {
        const ggml_tensor * qkv = node_->src[0];
        return row_of(qkv, (time * qkv->ne[2] + row) * qkv->ne[1] + column) + part * (qkv->ne[0] / 3) + channel_;
    }

    int lanes() const { return kernel_.time * kernel_.height * kernel_.width; }
    int64_t tile_floats() const { return head_dim_ * kQueryVectors * lanes(); }
    int64_t row_floats(int64_t columns) const { return head_dim_ * (columns + kernel_.spare_columns); }
    int64_t times_seen() const { return std::min(grid_.time.keys, kQueryVectors * kernel_.time + grid_.time.window); }

    // The cell of a lane; lanes past the end of the tile repeat its last query.
    struct Place {
        int64_t time, row, column;
    };
    Place place_of(const QueryTile & tile, int lane) const;

    void start_tile(QueryTile & tile);
    // The keys and values of one time, packed when they are met first.
    const float * plane_of(int64_t time);
    void pack(int part, int64_t time, float * packed) const;
    void pack_row(int part, int64_t time, int64_t row, float * packed) const;
    void add_plane(const QueryTile & tile, int64_t time, const float * plane);
    void store_tile(const QueryTile & tile) const;

    const ggml_tensor * node_;
    const WindowKernel & kernel_;
    int64_t head_dim_;
    int64_t margin_;
    Grid grid_;
    Range height_{}, width_{}, rows_{}, columns_{};  // of queries and keys
    int64_t channel_ = 0;
    std::vector<QueryTile> tiles_;
    // Keys and values of the times that were met last: (times, 2, rows, columns, head_dim). Time t has place t modulo
    // their count, which is that of the times that a block sees.
    std::vector<float> planes_;
    int64_t plane_floats_ = 0;
    int64_t packed_end_ = 0;              // times from here on are not packed yet
    std::vector<float> sums_, logits_;    // of all tiles; of one tile and plane
    std::vector<int32_t> masks_, times_;  // of all tiles; of one tile and plane
};

BlockAttention::BlockAttention(const ggml_tensor * node, const Grid & grid, const WindowKernel & kernel)
    : node_(node),
      kernel_(kernel),
      head_dim_(constants_of<WindowAttentionConstants>(node).head_dim),
      margin_(constants_of<WindowAttentionConstants>(node).margin),
      grid_(grid) {
    const auto size = [](int64_t count) { return static_cast<size_t>(count); };
    plane_floats_ = 2 * std::min(grid.height.keys, kBlockHeight + grid.height.window) *
                    row_floats(std::min(grid.width.keys, kBlockWidth + grid.width.window));
    planes_.resize(size(times_seen() * plane_floats_));
    const int64_t tile_rows = kernel.height + grid.height.window;
    const int64_t tile_columns = kernel.width + grid.width.window;
    const int64_t tiles = kBlockHeight / kernel.height * (kBlockWidth / kernel.width);
    tiles_.reserve(size(tiles));
    sums_.resize(size(tiles * 2 * (tile_floats() + kQueryVectors * lanes())));
    logits_.resize(size(tile_rows * (tile_columns + kernel.spare_columns) * kQueryVectors * lanes()));
    masks_.resize(size(tiles * (tile_rows + tile_columns) * lanes()));
    times_.resize(size(kQueryVectors * lanes()));
}

BlockAttention::Place BlockAttention::place_of(const QueryTile & tile, int lane) const {
    const auto at = [](const Range & range, int64_t index) { return std::min(range.begin + index, range.end - 1); };
    return {at(tile.time, lane / (kernel_.height * kernel_.width)),
            at(tile.height, lane / kernel_.width % kernel_.height), at(tile.width, lane % kernel_.width)};
}

void BlockAttention::start_tile(QueryTile & tile) {
    const int width = kQueryVectors * lanes();
    for (int lane = 0; lane < width; ++lane) {
        const Place place = place_of(tile, lane);
        const float * query = cell(0, place.time, place.row, margin_ + place.column);
        for (int64_t d = 0; d < head_dim_; ++d) {
            tile.sums.queries[d * width + lane] = query[d];
        }
    }
    if (kernel_.pack_queries) {
        kernel_.pack_queries(tile.sums.queries, head_dim_);
    }
    std::fill_n(tile.sums.results, tile_floats(), 0.0f);
    std::fill_n(tile.sums.tops, width, kNoTop);
    std::fill_n(tile.sums.sums, width, 0.0f);
    const Range rows = grid_.height.keys_of(tile.height);
    const Range columns = grid_.width.keys_of(tile.width);
    for (int lane = 0; lane < lanes(); ++lane) {
        const Place place = place_of(tile, lane);
        for (int64_t row = 0; row < rows.size(); ++row) {
            tile.sees_rows[row * lanes() + lane] = -int32_t{grid_.height.sees(place.row, rows.begin + row)};
        }
        for (int64_t column = 0; column < columns.size(); ++column) {
            tile.sees_columns[column * lanes() + lane] =
                -int32_t{grid_.width.sees(place.column, columns.begin + column)};
        }
    }
}

const float * BlockAttention::plane_of(int64_t time) {
    float * plane = planes_.data() + time % times_seen() * plane_floats_;
    if (time >= packed_end_) {
        pack(1, time, plane);
        pack(2, time, plane + plane_floats_ / 2);
        packed_end_ = time + 1;
    }
    return plane;
}

void BlockAttention::pack(int part, int64_t time, float * packed) const {
    for (int64_t row = rows_.begin; row < rows_.end; ++row, packed += row_floats(columns_.size())) {
        pack_row(part, time, row, packed);
    }
}

void BlockAttention::pack_row(int part, int64_t time, int64_t row, float * packed) const {
    if (const auto pack = part == 1 ? kernel_.pack_keys : kernel_.pack_values) {
        pack(cell(part, time, row, columns_.begin), node_->src[0]->ne[0], columns_.size(), head_dim_, packed);
        return;
    }
    for (int64_t column = columns_.begin; column < columns_.end; ++column, packed += head_dim_) {
        std::copy_n(cell(part, time, row, column), head_dim_, packed);
    }
}

void BlockAttention::add_plane(const QueryTile & tile, int64_t time, const float * plane) {
    int first = kQueryVectors;
    int last = 0;
    for (int lane = 0; lane < kQueryVectors * lanes(); ++lane) {
        const bool sees = grid_.time.sees(place_of(tile, lane).time, time);
        times_[static_cast<size_t>(lane)] = -int32_t{sees};
        if (sees) {
            first = std::min(first, lane / lanes());
            last = lane / lanes() + 1;
        }
    }
    if (first >= last) {
        return;
    }
    const Range rows = grid_.height.keys_of(tile.height);
    const Range columns = grid_.width.keys_of(tile.width);
    const int64_t row_stride = row_floats(columns_.size());
    const float * keys = plane + (rows.begin - rows_.begin) * row_stride;
    kernel_.attend({.keys = keys,
                    .values = keys + plane_floats_ / 2,
                    .row_stride = row_stride,
                    .first_column = columns.begin - columns_.begin,
                    .rows = rows.size(),
                    .columns = columns.size(),
                    .head_dim = head_dim_,
                    .sees_time = times_.data(),
                    .sees_rows = tile.sees_rows,
                    .sees_columns = tile.sees_columns},
                   tile.sums, first, last - first);
}

void BlockAttention::store_tile(const QueryTile & tile) const {
    const int width = kQueryVectors * lanes();
    for (int lane = 0; lane < width; ++lane) {
        const Place place = place_of(tile, lane);
        float * out = cell(0, place.time, place.row, margin_ + place.column);
        for (int64_t d = 0; d < head_dim_; ++d) {
            out[d] = tile.sums.results[d * width + lane] / tile.sums.sums[lane];
        }
    }
}

void BlockAttention::move(const Range & height, const Range & width, int64_t channel) {
    height_ = height;
    width_ = width;
    channel_ = channel;
    rows_ = grid_.height.keys_of(height);
    columns_ = grid_.width.keys_of(width);
    packed_end_ = 0;
}

void BlockAttention::attend(const Range & time) {
    float * sums = sums_.data();
    int32_t * masks = masks_.data();
    const auto take = [](auto *& memory, int64_t count) { return std::exchange(memory, memory + count); };
    tiles_.clear();
    for (int64_t row = height_.begin; row < height_.end; row += kernel_.height) {
        for (int64_t column = width_.begin; column < width_.end; column += kernel_.width) {
            QueryTile & tile = tiles_.emplace_back();
            tile.time = time;
            tile.height = {row, std::min(height_.end, row + kernel_.height)};
            tile.width = {column, std::min(width_.end, column + kernel_.width)};
            tile.sums = {.queries = take(sums, tile_floats()),
                         .results = take(sums, tile_floats()),
                         .tops = take(sums, kQueryVectors * lanes()),
                         .sums = take(sums, kQueryVectors * lanes()),
                         .logits = logits_.data()};
            tile.sees_rows = take(masks, (kernel_.height + grid_.height.window) * lanes());
            tile.sees_columns = take(masks, (kernel_.width + grid_.width.window) * lanes());
            start_tile(tile);
        }
    }
    const Range times = grid_.time.keys_of(time);
    for (int64_t key_time = times.begin; key_time < times.end; ++key_time) {
        const float * plane = plane_of(key_time);
        for (const QueryTile & tile : tiles_) {
            add_plane(tile, key_time, plane);
        }
    }
    for (const QueryTile & tile : tiles_) {
        store_tile(tile);
    }
}

int64_t blocks_of(int64_t cells, int64_t size) {
    return (cells + size - 1) / size;
}

// The best form over vectors, which takes heads of any size.
const WindowKernel & vector_kernel() {
#if defined(__x86_64__)
    const X86Features & has = x86_features();
    return has.avx512f ? kWindowAvx512 : has.avx2 && has.fma ? kWindowAvx2 : kBaseline;
#else
    return kBaseline;
#endif
}

// The form over matrix registers; null where this CPU has none, or the operating system keeps them.
const WindowKernel * tile_kernel() {
#if defined(LTX_GEMM_KERNELS)
    // Products found out whether the CPU has them, and asked for them.
    static const bool has_tiles =
        std::ranges::any_of(gemm_kernels(), [](const GemmKernel * kernel) { return kernel->name == kAmxKernelName; });
    return has_tiles ? &kWindowAmx : nullptr;
#else
    return nullptr;
#endif
}

std::atomic<const WindowKernel *> & chosen_kernel() {
    static std::atomic<const WindowKernel *> chosen = nullptr;
    return chosen;
}

// What a thread's matrix registers need, where a form has any.
class WindowScope {
public:
    explicit WindowScope(const WindowKernel & kernel) : kernel_(kernel) {
        if (kernel.begin) {
            kernel.begin();
        }
    }
    ~WindowScope() {
        if (kernel_.end) {
            kernel_.end();
        }
    }
    WindowScope(const WindowScope &) = delete;
    WindowScope & operator=(const WindowScope &) = delete;

private:
    const WindowKernel & kernel_;
};

}  // namespace

const WindowKernel & window_kernel(int64_t head_dim) {
    for (const WindowKernel * kernel : {chosen_kernel().load(std::memory_order_relaxed), tile_kernel()}) {
        if (kernel && head_dim % kernel->dims == 0) {
            return *kernel;
        }
    }
    return vector_kernel();
}

void choose_window_kernel(const WindowKernel * kernel) {
    chosen_kernel().store(kernel, std::memory_order_relaxed);
}

void window_attention_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const auto [window, head_dim, margin] = constants_of<WindowAttentionConstants>(node);
    const ggml_tensor * qkv = node->src[0];
    const Grid grid{{qkv->ne[3], qkv->ne[3], window.time},
                    {qkv->ne[2], qkv->ne[2], window.height},
                    {qkv->ne[1] - 2 * margin, qkv->ne[1], window.width}};
    const WindowKernel & kernel = window_kernel(head_dim);
    const WindowScope scope(kernel);
    const int64_t block_time = int64_t{kQueryVectors} * kernel.time;
    const int64_t times = blocks_of(grid.time.queries, block_time);
    const int64_t rows = blocks_of(grid.height.queries, kBlockHeight);
    const int64_t columns = blocks_of(grid.width.queries, kBlockWidth);
    const auto part = [](int64_t index, int64_t size, int64_t cells) {
        return Range{index * size, std::min(cells, (index + 1) * size)};
    };
    BlockAttention block(node, grid, kernel);
    // Blocks that follow each other in time see nearly the same keys.
    const int64_t heads = qkv->ne[0] / 3 / head_dim;
    const auto [begin, end] = rows_of_thread(heads * rows * columns * times, thread, num_threads);
    for (int64_t index = begin; index < end && !stopping(); ++index) {
        const int64_t place = index / times;
        if (index == begin || index % times == 0) {
            block.move(part(place / columns % rows, kBlockHeight, grid.height.queries),
                       part(place % columns, kBlockWidth, grid.width.queries), place / columns / rows * head_dim);
        }
        block.attend(part(index % times, block_time, grid.time.queries));
    }
}

}  // namespace ltx
