#include <cstring>

#include "kernels/cuda/int8_product.cuh"
#include "ops/int8_linear/int8_linear.h"
#include "ops/int8_linear/on_cuda.h"
#include "ops/linear/epilogue.cuh"

namespace ltx {

namespace {

using namespace cuda;

// Rows of x to integers: a block takes a row, a thread kValues values that lie next to each other, kPieces times. A
// group is sixteen threads' values, so that two of its four factors need no exchange, and the other two one.
constexpr int kValues = 16;
constexpr int kGroupThreads = static_cast<int>(kRotationGroup) / kValues;
static_assert(kGroupThreads == kValues);
constexpr int kMostThreads = 512;
constexpr int kMostPieces = 4;
// Floats of a group on its way between the threads, each row of sixteen in other banks than the next.
constexpr int kRowFloats = kValues + 1;
constexpr int kGroupFloats = kGroupThreads * kRowFloats;
constexpr float kLargest = 127.0f;

struct Int8Rows {
    const void * x;
    int64_t x_stride;  // bytes
    int8_t * out;
    int64_t out_stride;
    int width;
};

__device__ inline unsigned bits_of(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

// One factor of the rotation for the values number first, first + kStep ... (kernels/rotation.cpp, in the same order
// of operations).
template <int kStep>
__device__ void rotate_four(float (&v)[kValues], int first) {
    const float w = v[first];
    const float x = v[first + kStep];
    const float y = v[first + 2 * kStep];
    const float z = v[first + 3 * kStep];
    const float half = 0.5f * ((w + x) + (y + z));
    v[first] = half - z;
    v[first + kStep] = half - y;
    v[first + 2 * kStep] = half - x;
    v[first + 3 * kStep] = half - w;
}

// Two factors.
__device__ inline void rotate_sixteen(float (&v)[kValues]) {
#pragma unroll
    for (int i = 0; i < kValues; i += 4) {
        rotate_four<1>(v, i);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        rotate_four<4>(v, i);
    }
}

// Loads a thread's part of a group and rotates it. On return it has every sixteenth value from number `thread` on.
template <typename In>
__device__ void load_rotated(const In * x, float * group, int thread, bool valid, float (&v)[kValues]) {
    constexpr int kPack = kChunkBytes / sizeof(In);
#pragma unroll
    for (int i = 0; i < kValues; i += kPack) {
        const Floats<kPack> values = valid ? load<kPack>(x + i) : Floats<kPack>{};
#pragma unroll
        for (int j = 0; j < kPack; ++j) {
            v[i + j] = values.v[j];
        }
    }
    rotate_sixteen(v);
    __syncwarp();  // what was there has been read
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
        group[thread * kRowFloats + i] = v[i];
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
        v[i] = group[i * kRowFloats + thread];
    }
    rotate_sixteen(v);
}

// The largest of the block's numbers. All threads must call it, once.
__device__ inline unsigned largest_of_block(unsigned value) {
    __shared__ unsigned of_warp[kMostThreads / kWarp];
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        value = max(value, __shfl_xor_sync(0xffffffffu, value, offset));
    }
    if (threadIdx.x % kWarp == 0) {
        of_warp[threadIdx.x / kWarp] = value;
    }
    __syncthreads();
    for (int i = 0; i < static_cast<int>(blockDim.x) / kWarp; ++i) {
        value = max(value, of_warp[i]);
    }
    return value;
}

// Rounds what load_rotated left and stores it in the order of the row.
__device__ inline void store_rounded(const float (&v)[kValues], float scale, float * group, int thread, bool valid,
                                     int8_t * out) {
    auto * bytes = reinterpret_cast<int8_t *>(group);
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
        const float rounded = scale > 0.0f ? fminf(kLargest, fmaxf(-kLargest, rintf(v[i] / scale))) : 0.0f;
        bytes[i * kGroupThreads + thread] = static_cast<int8_t>(static_cast<int>(rounded));
    }
    __syncwarp();
    if (valid) {
        using Chunk = Pack<int8_t, kValues>;
        *reinterpret_cast<Chunk *>(out) = *reinterpret_cast<const Chunk *>(bytes + thread * kValues);
    }
}

template <typename In, int kPieces>
__global__ void __launch_bounds__(kMostThreads) int8_rows_kernel(Int8Rows a) {
    const int64_t row = blockIdx.x;
    const In * x = row_at(static_cast<const In *>(a.x), a.x_stride, row);
    int8_t * out = row_at(a.out, a.out_stride, row);
    const int thread = static_cast<int>(threadIdx.x) % kGroupThreads;
    float * group = reinterpret_cast<float *>(dynamic_shared()) + threadIdx.x / kGroupThreads * kGroupFloats;
    float values[kPieces][kValues];
    unsigned largest = 0;
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
        const int first = static_cast<int>(piece * blockDim.x + threadIdx.x) * kValues;
        load_rotated(x + first, group, thread, first < a.width, values[piece]);
#pragma unroll
        for (int i = 0; i < kValues; ++i) {
            // Sizes of floats are ordered like their bits, and what is not finite is above all others.
            largest = max(largest, bits_of(values[piece][i]) & 0x7fffffffu);
        }
    }
    largest = largest_of_block(largest);
    constexpr unsigned kInfinity = 0x7f800000u;
    float size;
    memcpy(&size, &largest, sizeof(size));
    const float scale = largest < kInfinity ? size / kLargest : nanf("");
#pragma unroll
    for (int piece = 0; piece < kPieces; ++piece) {
        const int first = static_cast<int>(piece * blockDim.x + threadIdx.x) * kValues;
        store_rounded(values[piece], scale, group, thread, first < a.width, out + first);
    }
    if (threadIdx.x == 0) {
        *reinterpret_cast<float *>(out + a.width) = scale;
    }
}

// Whether rows may be accessed a chunk at a time, where they begin at one.
bool have_chunks(const ggml_tensor * tensor) {
    return tensor->nb[0] == ggml_type_size(tensor->type) && tensor->nb[1] % kChunkBytes == 0;
}

bool supports_rows(const ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    return takes_int8 && constants_of<Int8RowsConstants>(node).group == kRotationGroup &&
           x->ne[0] <= kMostThreads * kMostPieces * kValues &&
           (x->type == GGML_TYPE_F32 || x->type == GGML_TYPE_BF16) && have_chunks(x) && have_chunks(node);
}

template <int kPieces>
void start_rows(const CudaCall & call, const ggml_tensor * node, const Int8Rows & arguments) {
    const int64_t threads = ceil_div(ceil_div(arguments.width, kPieces * kValues), kWarp) * kWarp;
    const dim3 grid(static_cast<unsigned>(node->ne[1]));
    const size_t bytes = static_cast<size_t>(threads) / kGroupThreads * kGroupFloats * sizeof(float);
    with_type(node->src[0]->type, [&]<typename In>() {
        if constexpr (!std::is_same_v<In, __half>) {
            launch("int8_rows", call, &int8_rows_kernel<In, kPieces>, grid, dim3(static_cast<unsigned>(threads)),
                   arguments, bytes);
        }
    });
}

void enqueue_rows(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    expect_chunks("int8_rows", {x, node});
    const Int8Rows arguments{x->data, static_cast<int64_t>(x->nb[1]), data_of<int8_t>(node),
                             static_cast<int64_t>(node->nb[1]), static_cast<int>(x->ne[0])};
    constexpr int64_t kPiece = kMostThreads * kValues;
    if (x->ne[0] <= kPiece) {
        start_rows<1>(call, node, arguments);
    } else if (x->ne[0] <= 2 * kPiece) {
        start_rows<2>(call, node, arguments);
    } else {
        start_rows<kMostPieces>(call, node, arguments);
    }
}

// The product: a block computes kRows x kColumns, its four warps 64 x 64 each, kDepth of the depth a step. That little
// of it, because two blocks share a processor of 100 KB so.
constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarp;
constexpr int kRows = 128;
constexpr int kColumns = 128;
constexpr int kDepth = kInt8TileWidth;
constexpr int kStages = 3;
constexpr int kWarpTile = 64;  // rows and columns of a warp
constexpr int kRowTiles = kWarpTile / 16;
constexpr int kColumnTiles = kWarpTile / 8;
constexpr int kTileBytes = kRows * kDepth;
constexpr size_t kSharedBytes = kStages * 2 * kTileBytes;
static_assert(kRows == kColumns && kSharedBytes <= 48 * 1024);  // which every device gives unasked
// Blocks that run at the same time share operands in the second-level cache: as many of rows as of columns.
constexpr int64_t kBandTiles = 16;

struct Int8Product {
    const int8_t * x;  // each row's scale lies behind its integers
    int64_t x_stride;
    const int8_t * weight;
    int64_t weight_stride;
    const float * scales;
    RowEpilogues epilogues;
    void * out;
    int64_t out_stride;  // bytes
    int64_t rows;
    int columns, depth;
    int64_t row_tiles, column_tiles;
};

// Where the results of a block begin.
struct ResultTile {
    int64_t row;
    int column;
};

__device__ inline ResultTile tile_of_block(const Int8Product & a) {
    const int64_t band = blockIdx.x / (kBandTiles * a.column_tiles) * kBandTiles;
    const int64_t within = blockIdx.x % (kBandTiles * a.column_tiles);
    const int64_t band_tiles = a.row_tiles - band < kBandTiles ? a.row_tiles - band : kBandTiles;
    return {(band + within % band_tiles) * kRows, static_cast<int>(within / band_tiles) * kColumns};
}

template <typename Out>
__device__ void store_sums(const Int8Product & a, const int (&sums)[kRowTiles][kColumnTiles][4], int64_t first_row,
                           int first_column) {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int64_t row = first_row + m * 16 + half * 8;
            if (row >= a.rows) {
                continue;
            }
            const float x_scale = *reinterpret_cast<const float *>(a.x + row * a.x_stride + a.depth);
            const RowEpilogue epilogue = a.epilogues.at(row);
            Out * out = row_at(static_cast<Out *>(a.out), a.out_stride, row);
#pragma unroll
            for (int n = 0; n < kColumnTiles; ++n) {
                const int column = first_column + n * 8;
                if (column < a.columns) {
                    const Floats<2> scales = load<2>(a.scales + column);
                    const int * sum = &sums[m][n][2 * half];
                    Floats<2> values{static_cast<float>(sum[0]) * (x_scale * scales.v[0]),
                                     static_cast<float>(sum[1]) * (x_scale * scales.v[1])};
                    epilogue.finish(values, column);
                    store<2>(out + column, values);
                }
            }
        }
    }
}

template <typename Out>
__global__ void __launch_bounds__(kThreads, 2) int8_product_kernel(Int8Product a) {
    unsigned char * tiles = dynamic_shared();  // of x and of the weight in turn
    const ResultTile first = tile_of_block(a);
    Int8TileCopy<kRows, kThreads> rows(a.x, a.x_stride, first.row, a.rows);
    Int8TileCopy<kColumns, kThreads> columns(a.weight, a.weight_stride, first.column, a.columns);
    const int steps = a.depth / kDepth;
    const auto copy_step = [&](int stage) {
        rows.next(tiles + stage * 2 * kTileBytes);
        columns.next(tiles + (stage * 2 + 1) * kTileBytes);
    };

    int sums[kRowTiles][kColumnTiles][4] = {};
    const int lane = threadIdx.x % kWarp;
    const int warp = threadIdx.x / kWarp;
    const int warp_row = warp % 2 * kWarpTile;
    const int warp_column = warp / 2 * kWarpTile;
    const int left_place = int8_tile_at(warp_row + lane % 16, lane / 16);
    const int right_place = int8_tile_at(warp_column + lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
        if (step < steps) {
            copy_step(step);
        }
        commit_copies();
    }
    int stage = 0;
    int filled = kStages - 1;
    for (int step = 0; step < steps; ++step) {
        wait_for_copies<kStages - 2>();
        __syncthreads();
        // The stage that is filled now was read in the step before.
        if (step + kStages - 1 < steps) {
            copy_step(filled);
        }
        commit_copies();
        const unsigned char * left_tile = tiles + stage * 2 * kTileBytes;
        const unsigned char * right_tile = left_tile + kTileBytes;
#pragma unroll
        for (int depth = 0; depth < kDepth / 32; ++depth) {
            unsigned left[kRowTiles][4];
#pragma unroll
            for (int m = 0; m < kRowTiles; ++m) {
                load_matrices(left[m], left_tile + (left_place ^ depth * 2 * kChunkBytes) + m * 16 * kDepth);
            }
#pragma unroll
            for (int n = 0; n < kColumnTiles; n += 2) {
                unsigned right[4];
                load_matrices(right, right_tile + (right_place ^ depth * 2 * kChunkBytes) + n * 8 * kDepth);
#pragma unroll
                for (int m = 0; m < kRowTiles; ++m) {
                    multiply(sums[m][n], left[m], right[0], right[1]);
                    multiply(sums[m][n + 1], left[m], right[2], right[3]);
                }
            }
        }
        stage = stage + 1 == kStages ? 0 : stage + 1;
        filled = filled + 1 == kStages ? 0 : filled + 1;
    }
    store_sums<Out>(a, sums, first.row + warp_row + lane / 4, first.column + warp_column + lane % 4 * 2);
}

// Whether two elements of a row may be accessed at once, where it begins at such a pair.
bool have_pairs(std::initializer_list<const ggml_tensor *> tensors) {
    return std::ranges::all_of(tensors, [](const ggml_tensor * tensor) {
        return !tensor || (tensor->nb[0] == ggml_type_size(tensor->type) && tensor->ne[0] % 2 == 0 &&
                           tensor->nb[1] % (2 * ggml_type_size(tensor->type)) == 0);
    });
}

bool supports_product(const ggml_tensor * node) {
    const LinearSources s = linear_sources(node, /*first_optional=*/3);
    const ggml_tensor * scales = node->src[2];
    return takes_int8 && s.weight->ne[0] % kDepth == 0 && s.weight->ne[1] <= INT32_MAX - kColumns &&
           have_chunks(s.weight) && have_chunks(s.x) && have_rows(GGML_TYPE_I32, {s.gate_rows}) &&
           have_rows(GGML_TYPE_F32, {scales, s.bias, s.residual, s.gate}) &&
           have_pairs({scales, s.bias, s.residual, s.gate, node}) &&
           (node->type == GGML_TYPE_F32 || node->type == GGML_TYPE_BF16);
}

void enqueue_product(const CudaCall & call, ggml_tensor * node) {
    const LinearSources s = linear_sources(node, /*first_optional=*/3);
    const ggml_tensor * scales = node->src[2];
    expect_chunks("int8_linear", {s.weight, s.x});
    for (const ggml_tensor * pairs : {scales, s.bias, s.residual, s.gate}) {
        if (pairs && reinterpret_cast<uintptr_t>(pairs->data) % (2 * sizeof(float)) != 0) {
            throw BackendError("CUDA: int8_linear got an operand that does not start at a multiple of 8 bytes");
        }
    }
    const Int8Product arguments{
        .x = data_of<const int8_t>(s.x),
        .x_stride = static_cast<int64_t>(s.x->nb[1]),
        .weight = data_of<const int8_t>(s.weight),
        .weight_stride = static_cast<int64_t>(s.weight->nb[1]),
        .scales = data_of<const float>(scales),
        .epilogues = row_epilogues(s, constants_of<LinearConstants>(node)),
        .out = node->data,
        .out_stride = static_cast<int64_t>(node->nb[1]),
        .rows = s.x->ne[1],
        .columns = static_cast<int>(s.weight->ne[1]),
        .depth = static_cast<int>(s.weight->ne[0]),
        .row_tiles = ceil_div(s.x->ne[1], kRows),
        .column_tiles = ceil_div(s.weight->ne[1], kColumns),
    };
    const dim3 grid(static_cast<unsigned>(arguments.row_tiles * arguments.column_tiles));
    with_type(node->type, [&]<typename Out>() {
        if constexpr (!std::is_same_v<Out, __half>) {
            launch("int8_linear", call, &int8_product_kernel<Out>, grid, dim3(kThreads), arguments, kSharedBytes);
        }
    });
}

}  // namespace

extern const CudaOp kInt8LinearCuda{&int8_linear_cpu, &supports_product, &enqueue_product, /*needs_tensor_cores=*/true};
extern const CudaOp kInt8RowsCuda{&int8_rows_cpu, &supports_rows, &enqueue_rows, /*needs_tensor_cores=*/true};

}  // namespace ltx
