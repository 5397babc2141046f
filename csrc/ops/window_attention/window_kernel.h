// The inner loops of windowed attention, compiled once per instruction set by the sources that include this.
//
// Those sources are built for more than the package's baseline, so nothing in here may be shared with other sources:
// only templates of internal linkage, and nothing of the standard library but types.
// One file therefore, longer than headers are here: what it holds is of use to nobody but those sources.
#pragma once

#include <cstdint>

namespace ltx {

// Queries that are computed together fill this many vectors, which lie behind each other along time.
inline constexpr int kQueryVectors = 2;

// The keys of one time that a tile of queries sees some of. Masks have all bits of a lane set where its query sees.
struct WindowPlane {
    const float * keys;    // (rows, columns, head_dim) or as packed, rows `row_stride` floats apart
    const float * values;  // the same
    int64_t row_stride;
    int64_t first_column;  // of a row that is seen; the masks count from there
    int64_t rows;
    int64_t columns;
    int64_t head_dim;
    const int32_t * sees_time;     // (kQueryVectors, lanes)
    const int32_t * sees_rows;     // (rows, lanes)
    const int32_t * sees_columns;  // (columns, lanes)
};

// A tile of queries, and what was summed over the planes so far; a lane per query.
struct WindowQueries {
    float * queries;  // (head_dim, kQueryVectors, lanes) or as packed
    float * results;  // the same: values times weights
    float * tops;     // (kQueryVectors, lanes): the largest logit
    float * sums;     // (kQueryVectors, lanes): of weights
    float * logits;   // working memory, (rows, columns, kQueryVectors, lanes)
};

// An instruction set's form of the loops.
struct WindowKernel {
    // Cells along time, height and width whose queries share a vector.
    int32_t time;
    int32_t height;
    int32_t width;
    // Adds a plane to what vectors [first, first + count) sum up.
    void (*attend)(const WindowPlane & plane, const WindowQueries & queries, int first, int count);
    int32_t dims = 8;           // elements of a head are a multiple of this
    int32_t spare_columns = 0;  // that follow packed rows, also of logits
    // Packs a row of `columns` cells, `stride` floats apart, into head_dim * (columns + spare_columns) floats; null:
    // the cells behind each other.
    void (*pack_keys)(const float * cells, int64_t stride, int64_t columns, int64_t head_dim, float * packed) = nullptr;
    void (*pack_values)(const float * cells, int64_t stride, int64_t columns, int64_t head_dim,
                        float * packed) = nullptr;
    // Packs queries where they lie; null: they stay.
    void (*pack_queries)(float * queries, int64_t head_dim) = nullptr;
    // Prepare a thread and release it; null: nothing to do.
    void (*begin)() = nullptr;
    void (*end)() = nullptr;
};

// The tops before any plane: less than any logit, so that what no query sees weighs nothing.
inline constexpr float kNoTop = -3e38f;

// The best form for heads of this size that this CPU runs.
const WindowKernel & window_kernel(int64_t head_dim);

// From here on window_kernel() is this one where heads fit it, null: the best one. For tests.
void choose_window_kernel(const WindowKernel * kernel);

#if defined(__x86_64__)
extern const WindowKernel kWindowAvx2;
extern const WindowKernel kWindowAvx512;
#endif
#if defined(LTX_GEMM_KERNELS)
extern const WindowKernel kWindowAmx;
#endif

namespace {

template <int kLanes>
struct Lanes {
    using Floats [[gnu::vector_size(kLanes * sizeof(float)), gnu::aligned(alignof(float)), gnu::may_alias]] = float;
    using Ints [[gnu::vector_size(kLanes * sizeof(float)), gnu::aligned(alignof(float)), gnu::may_alias]] = int32_t;

    static Floats & at(float * values) { return *reinterpret_cast<Floats *>(values); }
    static const Floats & at(const float * values) { return *reinterpret_cast<const Floats *>(values); }
    static const Ints & at(const int32_t * values) { return *reinterpret_cast<const Ints *>(values); }
};

// x becomes e^x, as by vector_exp, for x up to 0; NaN stays NaN. Passed by reference: baseline code has no convention
// for vectors of this size.
template <int kLanes>
inline void exponentiate(typename Lanes<kLanes>::Floats & x) {
    using Floats = typename Lanes<kLanes>::Floats;
    using Ints = typename Lanes<kLanes>::Ints;
    constexpr float kLog2E = 1.442695041f;
    constexpr float kLn2High = 0.693359375f;
    constexpr float kLn2Low = -2.12194440e-4f;
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23
    const Floats least = Floats{} - 88.0f;
    x = x < least ? least : x;
    const Floats shifted = x * kLog2E + kRound;
    const Floats n = shifted - kRound;
    const Floats r = (x - n * kLn2High) - n * kLn2Low;
    Floats tail = r * 1.38145837e-3f + 8.36872403e-3f;
    tail = tail * r + 4.16683890e-2f;
    tail = tail * r + 1.66665211e-1f;
    tail = tail * r + 4.99999940e-1f;
    const Floats power = 1.0f + (r + r * r * tail);
    const Ints exponent = (__builtin_bit_cast(Ints, shifted) << 23) + 0x3f800000;
    x = power * __builtin_bit_cast(Floats, exponent);
}

// Where the loops read and write: vectors [first, first + kVectors) of kQueryVectors.
template <int kLanes, int kVectors>
struct Loops {
    using Floats = typename Lanes<kLanes>::Floats;
    using Ints = typename Lanes<kLanes>::Ints;
    static constexpr int kQueryStride = kQueryVectors * kLanes;
    static constexpr int kLogitStride = kVectors * kLanes;

    // Logits of kKeys neighbouring keys of a row.
    template <int kKeys>
    static void score(const float * keys, int64_t head_dim, const float * queries, const int32_t * sees_columns,
                      const Ints * sees, float * logits) {
        Floats sum[kKeys][kVectors] = {};
        for (int64_t d = 0; d < head_dim; ++d) {
            Floats query[kVectors];
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                query[v] = Lanes<kLanes>::at(queries + d * kQueryStride + v * kLanes);
            }
#pragma GCC unroll 16
            for (int key = 0; key < kKeys; ++key) {
                const float value = keys[key * head_dim + d];
#pragma GCC unroll 2
                for (int v = 0; v < kVectors; ++v) {
                    sum[key][v] += query[v] * value;
                }
            }
        }
        const Ints unseen = Ints{} + static_cast<int32_t>(0xff800000u);  // minus infinity
#pragma GCC unroll 16
        for (int key = 0; key < kKeys; ++key) {
            const Ints column = Lanes<kLanes>::at(sees_columns + key * kLanes);
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                const Ints seen = column & sees[v];
                const Ints bits = (__builtin_bit_cast(Ints, sum[key][v]) & seen) | (unseen & ~seen);
                Lanes<kLanes>::at(logits + key * kLogitStride + v * kLanes) = __builtin_bit_cast(Floats, bits);
            }
        }
    }

    template <int kMost>
    static void score_some(int count, const float * keys, int64_t head_dim, const float * queries,
                           const int32_t * sees_columns, const Ints * sees, float * logits) {
        if constexpr (kMost > 1) {
            if (count < kMost) {
                return score_some<kMost - 1>(count, keys, head_dim, queries, sees_columns, sees, logits);
            }
        }
        score<kMost>(keys, head_dim, queries, sees_columns, sees, logits);
    }

    // A row of keys, in blocks of about the same size of at most kMost.
    template <int kMost>
    static void score_row(const WindowPlane & plane, int64_t row, const float * queries, const int32_t * sees_time,
                          float * logits) {
        Ints sees[kVectors];
        for (int v = 0; v < kVectors; ++v) {
            sees[v] = Lanes<kLanes>::at(sees_time + v * kLanes) & Lanes<kLanes>::at(plane.sees_rows + row * kLanes);
        }
        const float * keys = plane.keys + row * plane.row_stride + plane.first_column * plane.head_dim;
        const int64_t blocks = (plane.columns + kMost - 1) / kMost;
        for (int64_t block = 0; block < blocks; ++block) {
            const int64_t first = plane.columns * block / blocks;
            const int64_t last = plane.columns * (block + 1) / blocks;
            score_some<kMost>(static_cast<int>(last - first), keys + first * plane.head_dim, plane.head_dim, queries,
                              plane.sees_columns + first * kLanes, sees, logits + first * kLogitStride);
        }
    }

    // Turns the logits of `keys` keys into weights, and makes what was summed before relative to the new top.
    static void weigh(int64_t keys, const WindowQueries & in, int first, int64_t head_dim) {
        Floats top[kVectors], sum[kVectors] = {};
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) {
            top[v] = Lanes<kLanes>::at(in.tops + (first + v) * kLanes);
        }
        for (int64_t key = 0; key < keys; ++key) {
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                const Floats logit = Lanes<kLanes>::at(in.logits + key * kLogitStride + v * kLanes);
                top[v] = logit > top[v] ? logit : top[v];
            }
        }
        for (int64_t key = 0; key < keys; ++key) {
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                Floats & logit = Lanes<kLanes>::at(in.logits + key * kLogitStride + v * kLanes);
                Floats weight = logit - top[v];
                exponentiate<kLanes>(weight);
                logit = weight;
                sum[v] += weight;
            }
        }
        for (int v = 0; v < kVectors; ++v) {
            Floats & before = Lanes<kLanes>::at(in.tops + (first + v) * kLanes);
            Floats & total = Lanes<kLanes>::at(in.sums + (first + v) * kLanes);
            Floats factor = before - top[v];
            exponentiate<kLanes>(factor);
            before = top[v];
            total = total * factor + sum[v];
            for (int64_t d = 0; d < head_dim; ++d) {
                Lanes<kLanes>::at(in.results + d * kQueryStride + (first + v) * kLanes) *= factor;
            }
        }
    }

    // Adds kDims elements of the values of some rows, times their weights, to the results.
    template <int kDims>
    static void add(const WindowPlane & plane, int64_t first_row, int64_t last_row, const float * values,
                    const float * weights, float * results) {
        Floats sum[kDims][kVectors];
#pragma GCC unroll 16
        for (int d = 0; d < kDims; ++d) {
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                sum[d][v] = Lanes<kLanes>::at(results + d * kQueryStride + v * kLanes);
            }
        }
        for (int64_t row = first_row; row < last_row; ++row) {
            const float * value = values + row * plane.row_stride;
            const float * weight = weights + row * plane.columns * kLogitStride;
            for (int64_t key = 0; key < plane.columns; ++key, value += plane.head_dim, weight += kLogitStride) {
                Floats w[kVectors];
#pragma GCC unroll 2
                for (int v = 0; v < kVectors; ++v) {
                    w[v] = Lanes<kLanes>::at(weight + v * kLanes);
                }
#pragma GCC unroll 16
                for (int d = 0; d < kDims; ++d) {
                    const float element = value[d];
#pragma GCC unroll 2
                    for (int v = 0; v < kVectors; ++v) {
                        sum[d][v] += w[v] * element;
                    }
                }
            }
        }
#pragma GCC unroll 16
        for (int d = 0; d < kDims; ++d) {
#pragma GCC unroll 2
            for (int v = 0; v < kVectors; ++v) {
                Lanes<kLanes>::at(results + d * kQueryStride + v * kLanes) = sum[d][v];
            }
        }
    }

    // Heads are multiples of 8 elements: what blocks of kMost leave is an even number.
    template <int kMost>
    static void add_rows(const WindowPlane & plane, int64_t first_row, int64_t last_row, const float * weights,
                         float * results) {
        const float * values = plane.values + plane.first_column * plane.head_dim;
        int64_t d = 0;
        for (; d + kMost <= plane.head_dim; d += kMost) {
            add<kMost>(plane, first_row, last_row, values + d, weights, results + d * kQueryStride);
        }
        for (; d + 4 <= plane.head_dim; d += 4) {
            add<4>(plane, first_row, last_row, values + d, weights, results + d * kQueryStride);
        }
        for (; d < plane.head_dim; d += 2) {
            add<2>(plane, first_row, last_row, values + d, weights, results + d * kQueryStride);
        }
    }

    template <int kMostKeys, int kMostDims>
    static void attend(const WindowPlane & plane, const WindowQueries & in, int first) {
        // Rows of values and weights that stay in the first-level cache while all elements of a head are summed.
        constexpr int64_t kRows = 4;
        const int64_t offset = int64_t{first} * kLanes;
        for (int64_t row = 0; row < plane.rows; ++row) {
            score_row<kMostKeys>(plane, row, in.queries + offset, plane.sees_time + offset,
                                 in.logits + row * plane.columns * kLogitStride);
        }
        weigh(plane.rows * plane.columns, in, first, plane.head_dim);
        for (int64_t row = 0; row < plane.rows; row += kRows) {
            const int64_t last = row + kRows < plane.rows ? row + kRows : plane.rows;
            add_rows<kMostDims>(plane, row, last, in.logits, in.results + offset);
        }
    }
};

// kKeys and kDims: how many sums beside kQueryVectors vectors of queries stay in registers.
template <int kLanes, int kKeys, int kDims>
void attend_plane(const WindowPlane & plane, const WindowQueries & queries, int first, int count) {
    if (count == kQueryVectors) {
        Loops<kLanes, kQueryVectors>::template attend<kKeys, kDims>(plane, queries, first);
    } else {
        Loops<kLanes, 1>::template attend<2 * kKeys + 2, 2 * kDims>(plane, queries, first);
    }
}

}  // namespace

}  // namespace ltx
