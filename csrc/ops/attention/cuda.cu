#include "kernels/cuda/device.h"
#include "ops/attention/attention.h"
#include "ops/attention/cuda.cuh"
#include "ops/attention/warpgroups.h"

namespace ltx {

namespace {

using namespace cuda;

// A block takes some queries of one head, each warp a part of them, and passes over the keys kKeys at a time
// with a running maximum and sum of its rows (Dao, FlashAttention-2, 2023). Products are BF16, sums F32 throughout:
// ggml's kernel adds P V up in F16, which loses digits over long, flat rows.
constexpr int kWarps = 4;
constexpr int kKeys = 32;
constexpr int kKeyTiles = kKeys / 8;
constexpr int kThreads = kWarps * kWarp;
constexpr size_t kReservedBytes = 1024;  // of shared memory, by the device for each block
constexpr int kMostDim = 256;  // of a head; kernels are for 64, 128 and this, and fill up smaller heads with zeros

// Queries of a block whose warps have kTiles tiles of 16 rows each.
template <int kTiles>
inline constexpr int kQueries = kWarps * 16 * kTiles;

template <int kDim, int kTiles>
constexpr size_t shared_bytes() {
    return sizeof(__nv_bfloat16) * kDim * (kQueries<kTiles> + 4 * kKeys);
}

// Starts to copy kRows rows from `first` on. Where kChecked, elements of rows past `rows` and past the first `dim` of a
// row become zero; elsewhere there are none.
template <int kDim, int kRows, bool kChecked>
__device__ void copy_rows(__nv_bfloat16 * tile, const __nv_bfloat16 * first, int64_t stride, int64_t rows, int dim) {
    constexpr int kChunks = kDim / kChunk;
    constexpr int kPass = kThreads / kChunks;  // rows copied at a time
    const int row = static_cast<int>(threadIdx.x) / kChunks;
    const int chunk = static_cast<int>(threadIdx.x) % kChunks;
    const __nv_bfloat16 * from = first + row * stride + chunk * kChunk;
#pragma unroll
    for (int i = 0; i < kRows / kPass; ++i) {
        __nv_bfloat16 * to = tile + tile_at<kDim>(row + i * kPass, chunk);
        if constexpr (kChecked) {
            const bool valid = row + i * kPass < rows && chunk * kChunk < dim;
            copy_chunk(to, valid ? from + i * kPass * stride : first, valid);
        } else {
            copy_chunk(to, from + i * kPass * stride);
        }
    }
}

// The same, checked where it has to be.
template <int kDim, int kRows, bool kPlain>
__device__ void copy_some_rows(__nv_bfloat16 * tile, const __nv_bfloat16 * first, int64_t stride, int64_t rows,
                               int dim) {
    if (kPlain && rows >= kRows) {
        copy_rows<kDim, kRows, /*kChecked=*/false>(tile, first, stride, rows, dim);
    } else {
        copy_rows<kDim, kRows, /*kChecked=*/true>(tile, first, stride, rows, dim);
    }
}

// What a thread keeps of its rows, for each 16-row tile.
template <int kDim, int kTiles>
struct Rows {
    float out[kTiles][kDim / 8][4] = {};
    RowPair pair[kTiles];
};

// Products of the warp's queries and one tile of keys.
template <int kDim, int kTiles>
__device__ void multiply_keys(const __nv_bfloat16 * q, const __nv_bfloat16 * k, int lane,
                              float (&logits)[kTiles][kKeyTiles][4]) {
    const int q_place = tile_at<kDim>(lane % 16, lane / 16);
    const int k_place = tile_at<kDim>(lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
    for (int depth = 0; depth < kDim / 16; ++depth) {
        unsigned a[kTiles][4];
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
            load_matrices(a[m], q + (q_place ^ depth * 2 * kChunk) + m * 16 * kDim);
        }
#pragma unroll
        for (int n = 0; n < kKeyTiles; n += 2) {
            unsigned b[4];
            load_matrices(b, k + (k_place ^ depth * 2 * kChunk) + n * 8 * kDim);
#pragma unroll
            for (int m = 0; m < kTiles; ++m) {
                multiply(logits[m][n], a[m], b[0], b[1]);
                multiply(logits[m][n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

template <int kDim, int kTiles>
__device__ void multiply_values(const float (&weights)[kTiles][kKeyTiles][4], const __nv_bfloat16 * v, int lane,
                                Rows<kDim, kTiles> & rows) {
    const int place = tile_at<kDim>(lane % 16, lane / 16);
#pragma unroll
    for (int depth = 0; depth < kKeys / 16; ++depth) {
        unsigned a[kTiles][4];
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
            pack_weights(weights[m], 2 * depth, a[m]);
        }
#pragma unroll
        for (int n = 0; n < kDim / 8; n += 2) {
            unsigned b[4];
            load_matrices_transposed(b, v + (place ^ n * kChunk) + depth * 16 * kDim);
#pragma unroll
            for (int m = 0; m < kTiles; ++m) {
                multiply(rows.out[m][n], a[m], b[0], b[1]);
                multiply(rows.out[m][n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

// Scales logits and adds the mask; keys past the last get none of the weight.
template <int kTiles>
__device__ void mask_logits(const AttentionArguments & a, int64_t first_query, int64_t first_key, int lane,
                            float (&logits)[kTiles][kKeyTiles][4]) {
#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int64_t key = first_key + n * 8 + lane % 4 * 2 + i % 2;
                const int64_t query = first_query + m * 16 + i / 2 * 8 + lane / 4;
                float & logit = logits[m][n][i];
                logit *= a.scale;
                if (key >= a.keys) {
                    logit = -INFINITY;
                } else if (a.mask && query < a.queries) {
                    logit += kLog2E * __half2float(a.mask[query * a.mask_stride + key]);
                }
            }
        }
    }
}

// kPlain: without a mask, heads of kDim elements, a positive scale. The other one takes all of these.
template <int kDim, int kTiles, bool kPlain>
__global__ void __launch_bounds__(kThreads) attention_kernel(AttentionArguments a) {
    auto * q_tile = reinterpret_cast<__nv_bfloat16 *>(dynamic_shared());
    __nv_bfloat16 * k_tiles = q_tile + kQueries<kTiles> * kDim;
    __nv_bfloat16 * v_tiles = k_tiles + 2 * kKeys * kDim;
    const int head = blockIdx.y;
    const int64_t first_query = static_cast<int64_t>(blockIdx.x) * kQueries<kTiles>;
    const __nv_bfloat16 * q = a.q.data + head * a.q.head_stride + first_query * a.q.row_stride;
    const __nv_bfloat16 * k = a.k.data + head / a.group * a.k.head_stride;
    const __nv_bfloat16 * v = a.v.data + head / a.group * a.v.head_stride;
    const int lane = threadIdx.x % kWarp;
    const int warp_query = static_cast<int>(threadIdx.x / kWarp) * 16 * kTiles;

    Rows<kDim, kTiles> rows;
    copy_some_rows<kDim, kQueries<kTiles>, kPlain>(q_tile, q, a.q.row_stride, a.queries - first_query, a.dim);
    copy_some_rows<kDim, kKeys, kPlain>(k_tiles, k, a.k.row_stride, a.keys, a.dim);
    copy_some_rows<kDim, kKeys, kPlain>(v_tiles, v, a.v.row_stride, a.keys, a.dim);
    commit_copies();
    int stage = 0;
    for (int64_t left = a.keys; left > 0; left -= kKeys, stage ^= 1) {
        if (left > kKeys) {
            k += kKeys * a.k.row_stride;
            v += kKeys * a.v.row_stride;
            const int next = (stage ^ 1) * kKeys * kDim;
            copy_some_rows<kDim, kKeys, kPlain>(k_tiles + next, k, a.k.row_stride, left - kKeys, a.dim);
            copy_some_rows<kDim, kKeys, kPlain>(v_tiles + next, v, a.v.row_stride, left - kKeys, a.dim);
        }
        commit_copies();
        wait_for_copies<1>();
        __syncthreads();

        float logits[kTiles][kKeyTiles][4] = {};
        multiply_keys<kDim, kTiles>(q_tile + warp_query * kDim, k_tiles + stage * kKeys * kDim, lane, logits);
        if constexpr (!kPlain) {
            mask_logits<kTiles>(a, first_query + warp_query, a.keys - left, lane, logits);
        }
#pragma unroll
        for (int m = 0; m < kTiles; ++m) {
            if (kPlain && left < kKeys) {
                cut_logits(left, lane, logits[m]);
            }
            float correction[2];
            exponentiate(logits[m], kPlain ? a.scale : 1.0f, rows.pair[m], correction);
            correct(rows.out[m], correction);
        }
        multiply_values<kDim, kTiles>(logits, v_tiles + stage * kKeys * kDim, lane, rows);
        __syncthreads();  // before the next copies overwrite this stage
    }

#pragma unroll
    for (int m = 0; m < kTiles; ++m) {
        store_rows<kDim, kPlain>(a, first_query + warp_query + m * 16, head, lane, rows.out[m], rows.pair[m]);
    }
}

bool supports(const ggml_tensor * node) {
    const AttentionSources s = attention_sources(node);
    const auto fits = [](const ggml_tensor * x) {
        return have_rows(GGML_TYPE_BF16, {x}) && x->nb[1] % kChunkBytes == 0 && x->nb[2] % kChunkBytes == 0;
    };
    const int64_t dim = s.q->ne[0];
    return dim % kChunk == 0 && dim <= kMostDim && fits(s.q) && fits(s.k) && fits(s.v) &&
           have_rows(GGML_TYPE_F16, {s.mask}) && have_rows(GGML_TYPE_F32, {s.gate}) && node->type == GGML_TYPE_BF16 &&
           node->nb[0] == sizeof(__nv_bfloat16);
}

Heads place_of(const ggml_tensor * x) {
    constexpr int64_t kBytes = sizeof(__nv_bfloat16);
    return {data_of<const __nv_bfloat16>(x), static_cast<int64_t>(x->nb[1]) / kBytes,
            static_cast<int64_t>(x->nb[2]) / kBytes};
}

template <int kDim, int kTiles, bool kPlain>
void start_kernel(const CudaCall & call, const AttentionArguments & arguments) {
    allow_shared("bf16_attention", &attention_kernel<kDim, kTiles, kPlain>, shared_bytes<kDim, kTiles>());
    const dim3 grid(static_cast<unsigned>(ceil_div(arguments.queries, kQueries<kTiles>)),
                    static_cast<unsigned>(arguments.heads));
    launch("bf16_attention", call, &attention_kernel<kDim, kTiles, kPlain>, grid, dim3(kThreads), arguments,
           shared_bytes<kDim, kTiles>());
}

template <int kDim, int kTiles>
void start(const CudaCall & call, const AttentionArguments & arguments) {
    is_plain(arguments, kDim) ? start_kernel<kDim, kTiles, true>(call, arguments)
                              : start_kernel<kDim, kTiles, false>(call, arguments);
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const AttentionSources s = attention_sources(node);
    expect_chunks("bf16_attention", {s.q, s.k, s.v});
    const AttentionArguments arguments{
        place_of(s.q),
        place_of(s.k),
        place_of(s.v),
        s.mask ? data_of<const __half>(s.mask) : nullptr,
        s.mask ? static_cast<int64_t>(s.mask->nb[1] / sizeof(__half)) : 0,
        s.gate ? data_of<const float>(s.gate) : nullptr,
        s.gate ? static_cast<int64_t>(s.gate->nb[1] / sizeof(float)) : 0,
        data_of<__nv_bfloat16>(node),
        static_cast<int64_t>(node->nb[1] / sizeof(__nv_bfloat16)),
        s.q->ne[2],
        s.k->ne[2],
        static_cast<int>(s.q->ne[0]),
        static_cast<int>(s.q->ne[1]),
        static_cast<int>(s.q->ne[1] / s.k->ne[1]),
        constants_of<AttentionConstants>(node).scale * kLog2E,
    };
    if (attend_by_warpgroups(call, arguments)) {
        return;
    }
    // A warp takes as many rows as leave room for their sums in the registers, and a block no more than lets two of
    // them share a processor: while one waits at a softmax or a barrier, the other multiplies.
    constexpr size_t kTwoBlocks = 2 * (shared_bytes<128, 2>() + kReservedBytes);
    if (arguments.dim <= 64) {
        start<64, 2>(call, arguments);
    } else if (arguments.dim > 128) {
        start<kMostDim, 1>(call, arguments);
    } else if (shared_bytes_of_processor() < kTwoBlocks) {
        start<128, 1>(call, arguments);
    } else {
        start<128, 2>(call, arguments);
    }
}

}  // namespace

extern const CudaOp kAttentionCuda{&bf16_attention_cpu, &supports, &enqueue, /*needs_tensor_cores=*/true};

}  // namespace ltx
