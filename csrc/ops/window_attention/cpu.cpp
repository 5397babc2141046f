#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/simd_math.h"
#include "ops/window_attention/window_attention.h"

namespace ltx {

namespace {

// So many neighbouring queries of a row share the keys that they see, and lie in the lanes of a register.
constexpr int64_t kQueries = 16;
// Sums kept in registers at a time.
constexpr int64_t kKeys = 4;
constexpr int64_t kValues = 4;

constexpr float kUnseen = -std::numeric_limits<float>::infinity();

int64_t window_start(int64_t index, int64_t window, int64_t count) {
    return std::clamp<int64_t>(index - window / 2, 0, count - window);
}

// Cells along the width that the queries of a block see, and where each of their windows starts among them.
struct Columns {
    int64_t first;
    int64_t count;
    int64_t starts[kQueries];
};

Columns columns_of(int64_t first_query, int64_t queries, int64_t window, int64_t keys, bool centred) {
    Columns columns{};
    const auto start = [&](int64_t query) { return centred ? query : window_start(query, window, keys); };
    columns.first = start(first_query);
    for (int64_t i = 0; i < kQueries; ++i) {
        columns.starts[i] = start(first_query + std::min(i, queries - 1)) - columns.first;
    }
    columns.count = columns.starts[kQueries - 1] + window;
    return columns;
}

// logits (count, kQueries): the products of keys (count, stride) with queries (head_dim, kQueries).
LTX_TARGET_CLONES
void score_row(const float * __restrict queries, const float * __restrict keys, int64_t stride, int64_t head_dim,
               int64_t count, float * __restrict logits) {
    for (int64_t first = 0; first < count; first += kKeys) {
        float sums[kKeys][kQueries] = {};
        const float * row[kKeys];
        for (int64_t key = 0; key < kKeys; ++key) {
            row[key] = keys + std::min(first + key, count - 1) * stride;
        }
        for (int64_t d = 0; d < head_dim; ++d) {
            const float * query = queries + d * kQueries;
            for (int64_t key = 0; key < kKeys; ++key) {
                const float value = row[key][d];
                for (int64_t lane = 0; lane < kQueries; ++lane) {
                    sums[key][lane] += query[lane] * value;
                }
            }
        }
        for (int64_t key = 0; key < std::min(kKeys, count - first); ++key) {
            for (int64_t lane = 0; lane < kQueries; ++lane) {
                logits[(first + key) * kQueries + lane] = sums[key][lane];
            }
        }
    }
}

// Turns logits (count, kQueries) into weights, and returns the sums of each query's in `sums`.
LTX_TARGET_CLONES
void softmax_lanes(float * __restrict logits, int64_t count, float * __restrict sums) {
    float top[kQueries];
    std::fill_n(top, kQueries, kUnseen);
    for (int64_t key = 0; key < count; ++key) {
        for (int64_t lane = 0; lane < kQueries; ++lane) {
            const float logit = logits[key * kQueries + lane];
            // A logit that is not a number stays to be seen: it fails the comparison as the new one and the old one.
            top[lane] = logit <= top[lane] ? top[lane] : logit;
        }
    }
    std::fill_n(sums, kQueries, 0.0f);
    for (int64_t key = 0; key < count; ++key) {
        for (int64_t lane = 0; lane < kQueries; ++lane) {
            const float weight = vector_exp(logits[key * kQueries + lane] - top[lane]);
            logits[key * kQueries + lane] = weight;
            sums[lane] += weight;
        }
    }
}

// results (head_dim, kQueries) += weights (count, kQueries) of values (count, stride)
LTX_TARGET_CLONES
void add_values(const float * __restrict weights, const float * __restrict values, int64_t stride, int64_t head_dim,
                int64_t count, float * __restrict results) {
    for (int64_t first = 0; first < head_dim; first += kValues) {
        float sums[kValues][kQueries];
        for (int64_t i = 0; i < kValues; ++i) {
            for (int64_t lane = 0; lane < kQueries; ++lane) {
                sums[i][lane] = results[(first + i) * kQueries + lane];
            }
        }
        for (int64_t key = 0; key < count; ++key) {
            const float * value = values + key * stride + first;
            const float * weight = weights + key * kQueries;
            for (int64_t i = 0; i < kValues; ++i) {
                for (int64_t lane = 0; lane < kQueries; ++lane) {
                    sums[i][lane] += weight[lane] * value[i];
                }
            }
        }
        for (int64_t i = 0; i < kValues; ++i) {
            for (int64_t lane = 0; lane < kQueries; ++lane) {
                results[(first + i) * kQueries + lane] = sums[i][lane];
            }
        }
    }
}

// The memory of one thread.
struct Workspace {
    std::vector<float> queries;  // (head_dim, kQueries)
    std::vector<float> results;  // the same
    std::vector<float> logits;   // (rows of the window, columns, kQueries)

    Workspace(int64_t head_dim, const GridSize & window)
        : queries(static_cast<size_t>(head_dim * kQueries)),
          results(queries.size()),
          logits(static_cast<size_t>(int64_t{window.time} * window.height * (window.width + kQueries) * kQueries)) {}
};

float * cell(const ggml_tensor * tensor, int64_t time, int64_t row, int64_t column) {
    return row_of(tensor, (time * tensor->ne[2] + row) * tensor->ne[1] + column);
}

int64_t stride_of(const ggml_tensor * tensor) {
    return static_cast<int64_t>(tensor->nb[1] / sizeof(float));
}

// One head of a block of queries in one row of the grid.
void attend_block(const ggml_tensor * node, int64_t time, int64_t row, int64_t first, int64_t queries, int64_t channel,
                  Workspace & work) {
    const auto [window, head_dim] = constants_of<WindowAttentionConstants>(node);
    const ggml_tensor * q = node->src[0];
    const ggml_tensor * k = node->src[1];
    const ggml_tensor * v = node->src[2];
    const Columns columns = columns_of(first, queries, window.width, k->ne[1], k->ne[1] != q->ne[1]);
    const int64_t first_time = window_start(time, window.time, q->ne[3]);
    const int64_t first_row = window_start(row, window.height, q->ne[2]);
    for (int64_t lane = 0; lane < kQueries; ++lane) {
        // Lanes past the end repeat the last query.
        const float * query = cell(q, time, row, first + std::min(lane, queries - 1)) + channel;
        for (int64_t d = 0; d < head_dim; ++d) {
            work.queries[static_cast<size_t>(d * kQueries + lane)] = query[d];
        }
    }
    const auto for_each_row = [&](auto && visit) {
        for (int64_t t = 0; t < window.time; ++t) {
            for (int64_t h = 0; h < window.height; ++h) {
                visit(first_time + t, first_row + h,
                      work.logits.data() + (t * window.height + h) * columns.count * kQueries);
            }
        }
    };
    for_each_row([&](int64_t t, int64_t h, float * logits) {
        score_row(work.queries.data(), cell(k, t, h, columns.first) + channel, stride_of(k), head_dim, columns.count,
                  logits);
        for (int64_t key = 0; key < columns.count; ++key) {
            for (int64_t lane = 0; lane < kQueries; ++lane) {
                const int64_t place = key - columns.starts[lane];
                if (place < 0 || place >= window.width) {
                    logits[key * kQueries + lane] = kUnseen;
                }
            }
        }
    });
    float sums[kQueries];
    softmax_lanes(work.logits.data(), int64_t{window.time} * window.height * columns.count, sums);
    std::ranges::fill(work.results, 0.0f);
    for_each_row([&](int64_t t, int64_t h, const float * weights) {
        add_values(weights, cell(v, t, h, columns.first) + channel, stride_of(v), head_dim, columns.count,
                   work.results.data());
    });
    for (int64_t lane = 0; lane < queries; ++lane) {
        float * out = cell(node, time, row, first + lane) + channel;
        for (int64_t d = 0; d < head_dim; ++d) {
            out[d] = work.results[static_cast<size_t>(d * kQueries + lane)] / sums[lane];
        }
    }
}

}  // namespace

void window_attention_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const auto [window, head_dim] = constants_of<WindowAttentionConstants>(node);
    Workspace work(head_dim, window);
    // Threads share the rows of the grid; blocks of a row follow each other, because they see the same keys.
    const auto [begin, end] = rows_of_thread(node->ne[2] * node->ne[3], thread, num_threads);
    for (int64_t index = begin; index < end; ++index) {
        for (int64_t channel = 0; channel < node->ne[0]; channel += head_dim) {
            for (int64_t first = 0; first < node->ne[1]; first += kQueries) {
                attend_block(node, index / node->ne[2], index % node->ne[2], first,
                             std::min(kQueries, node->ne[1] - first), channel, work);
            }
        }
    }
}

}  // namespace ltx
