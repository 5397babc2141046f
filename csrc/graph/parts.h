// A grid that is written part by part, where no operation makes it whole.
#pragma once

#include <algorithm>
#include <cstdint>

#include "graph/graph.h"

namespace ltx {

// The cells of a grid, which lie evenly apart, as rows. x: [channels, W, H, T] -> [channels, cells]
ggml_tensor * rows_of_cells(Graph & graph, ggml_tensor * x);

// `count` of these rows from number `first` on.
ggml_tensor * rows_of_cells(Graph & graph, ggml_tensor * x, int64_t first, int64_t count);

// Calls `visit(first, count)` for pieces of so many cells; the last one may have fewer.
template <typename Visit>
void for_pieces(int64_t cells, int64_t piece, Visit && visit) {
    for (int64_t first = 0; first < cells; first += piece) {
        visit(first, std::min(piece, cells - first));
    }
}

// Writes happen in the order of the calls, and before whatever is added to the graph later. So a part may be computed
// from what it overwrites, as long as nothing that comes later reads that.
class Parts {
public:
    // x: [channels, W, H, T], cells evenly apart; what is in it is overwritten.
    Parts(Graph & graph, ggml_tensor * x) : graph_(graph), x_(x) {}

    // value: [channels, count], the cells from number `first` on; for `width` channels from number `channel` on.
    void write_rows(ggml_tensor * value, int64_t first, int64_t channel = 0);

    // value: [width, W, H, T], channels of all cells from number `channel` on.
    void write_channels(ggml_tensor * value, int64_t channel);

    // The grid after all writes, at least one.
    ggml_tensor * all() const;

private:
    void write(ggml_tensor * value, ggml_tensor * place);

    Graph & graph_;
    ggml_tensor * x_;
    ggml_tensor * written_ = nullptr;  // the last write
};

}  // namespace ltx
