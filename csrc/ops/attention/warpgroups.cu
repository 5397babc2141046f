#include "ops/attention/warpgroups.h"

#include "kernels/cuda/device.h"
#include "kernels/cuda/warpgroup.cuh"
#include "ops/attention/cuda.cuh"

namespace ltx::cuda {

namespace {

// The scheme of Shah et al., FlashAttention-3, 2024. A block takes kQueries queries of a head: two warpgroups compute
// 64 each and a third one copies for them. While a warpgroup turns logits into weights, the tensor cores multiply its
// last weights by values, and the other warpgroup's operands: the two take turns in starting products.
constexpr int kGroups = 2;  // that compute
constexpr int kGroupRows = 64;
constexpr int kQueries = kGroups * kGroupRows;
constexpr int kKeys = 128;  // a step
constexpr int kStages = 2;
constexpr int kThreads = (kGroups + 1) * kWarpgroup;
// Registers of a thread, out of 65536: a product's sums fill most of them, copies need few.
constexpr int kComputingRegisters = 216;
constexpr int kCopyingRegisters = 72;
static_assert(kWarpgroup * (kGroups * kComputingRegisters + kCopyingRegisters) <= 65536);

// Operands in panels, and two barriers for each place of keys and values: one that ends when it is filled, one when all
// have read it.
struct Place {
    Barrier filled, read;
};

template <int kDim>
struct Shared {
    __nv_bfloat16 q[kQueries * kDim];
    __nv_bfloat16 k[kStages][kKeys * kDim];
    __nv_bfloat16 v[kStages][kKeys * kDim];
    Place k_places[kStages], v_places[kStages];
};

// Of a place's barriers in a step: places are used in turn.
__device__ int parity_of(int step) {
    return step / kStages % 2;
}

// Starts to copy kRows rows of a head; those past `rows` become zero.
template <int kDim, int kRows>
__device__ void copy_panels(__nv_bfloat16 * panels, const __nv_bfloat16 * first, int64_t stride, int64_t rows) {
    constexpr int kChunks = kDim / kChunk;
    constexpr int kPass = kWarpgroup / kChunks;  // rows copied at a time
    static_assert(kPass % 8 == 0);               // all of a thread's rows are swapped alike
    const int row = static_cast<int>(threadIdx.x) % kWarpgroup / kChunks;
    const int chunk = static_cast<int>(threadIdx.x) % kChunks;
    __nv_bfloat16 * to = panels + chunk / 8 * kRows * kPanel + tile_at<kPanel>(row, chunk % 8);
    const __nv_bfloat16 * from = first + row * stride + chunk * kChunk;
    // Unrolled in part: with every address of a tile in a register of its own, there would not be enough of them.
    if (rows >= kRows) {
#pragma unroll 4
        for (int i = 0; i < kRows / kPass; ++i) {
            copy_chunk(to + i * kPass * kPanel, from);
            from += kPass * stride;
        }
    } else {
#pragma unroll 1
        for (int i = 0; i < kRows / kPass; ++i) {
            const bool valid = row + i * kPass < rows;
            copy_chunk(to + i * kPass * kPanel, valid ? from : first, valid);
            from += kPass * stride;
        }
    }
}

// Tiles of keys pass by from the last one, which alone may be short, to the first.
__device__ int tiles_of(const AttentionArguments & a) {
    return static_cast<int>((a.keys + kKeys - 1) / kKeys);
}

__device__ int64_t last_keys_of(const AttentionArguments & a) {
    return a.keys - static_cast<int64_t>(tiles_of(a) - 1) * kKeys;
}

// What the copying warpgroup does. A place counts as filled one copy later than its own, which has arrived by then.
template <int kDim>
__device__ void copy_all(const AttentionArguments & a, Shared<kDim> & shared) {
    const int head = blockIdx.y;
    const int64_t first_query = static_cast<int64_t>(blockIdx.x) * kQueries;
    const int tiles = tiles_of(a);
    const int64_t first_key = static_cast<int64_t>(tiles - 1) * kKeys;
    const __nv_bfloat16 * q = a.q.data + head * a.q.head_stride + first_query * a.q.row_stride;
    const __nv_bfloat16 * k = a.k.data + head / a.group * a.k.head_stride + first_key * a.k.row_stride;
    const __nv_bfloat16 * v = a.v.data + head / a.group * a.v.head_stride + first_key * a.v.row_stride;
    copy_panels<kDim, kQueries>(shared.q, q, a.q.row_stride, a.queries - first_query);
    int64_t rows = last_keys_of(a);
    for (int step = 0; step < tiles; ++step) {
        const int stage = step % kStages;
        wait_for(shared.k_places[stage].read, parity_of(step) ^ 1);
        copy_panels<kDim, kKeys>(shared.k[stage], k, a.k.row_stride, rows);
        commit_copies();
        if (step > 0) {
            wait_for_copies<1>();
            show_to_products();
            arrive(shared.v_places[(step - 1) % kStages].filled);
        }
        wait_for(shared.v_places[stage].read, parity_of(step) ^ 1);
        copy_panels<kDim, kKeys>(shared.v[stage], v, a.v.row_stride, rows);
        commit_copies();
        wait_for_copies<1>();
        show_to_products();
        arrive(shared.k_places[stage].filled);  // with the first of them the queries are there
        k -= kKeys * a.k.row_stride;
        v -= kKeys * a.v.row_stride;
        rows = kKeys;
    }
    wait_for_copies<0>();
    show_to_products();
    arrive(shared.v_places[(tiles - 1) % kStages].filled);
}

// logits = Q K^T of a warpgroup's queries and a tile of keys.
template <int kDim>
__device__ void start_logits(Operand q, Operand k, float (&logits)[kKeys / 8][4]) {
    order_registers();
#pragma unroll
    for (int depth = 0; depth < kDim / 16; ++depth) {
        const unsigned within = depth % 4 * 16 * sizeof(__nv_bfloat16);
        const unsigned panel = depth / 4 * kPanel * sizeof(__nv_bfloat16);
        start_product(logits, further(q, panel * kQueries + within), further(k, panel * kKeys + within), depth > 0);
    }
    commit_products();
}

// out += P V of a tile of keys.
template <int kDim>
__device__ void start_values(const unsigned (&weights)[kKeys / 16][4], Operand v, float (&out)[kDim / 8][4]) {
    order_registers();
#pragma unroll
    for (int depth = 0; depth < kKeys / 16; ++depth) {
        start_product(out, weights[depth], further(v, depth * 16 * kPanel * sizeof(__nv_bfloat16)));
    }
    commit_products();
}

__device__ void pack_all(const float (&logits)[kKeys / 8][4], unsigned (&weights)[kKeys / 16][4]) {
#pragma unroll
    for (int i = 0; i < kKeys / 16; ++i) {
        pack_weights(logits, 2 * i, weights[i]);
    }
}

// Says for a warp that it has read a place.
__device__ void leave(Place & place, int lane) {
    if (lane == 0) {
        arrive(place.read);
    }
}

// A warpgroup may start products when the other one has started its own: barrier 1 + group ends then.
__device__ void take_turn(int group) {
    meet<kGroups * kWarpgroup>(1 + group);
}

__device__ void pass_turn(int group) {
    let_pass<kGroups * kWarpgroup>(1 + (group ^ 1));
}

// What a computing warpgroup does. In each step the logits of a tile of keys and the values of the one before are under
// way together.
template <int kDim>
__device__ void compute(const AttentionArguments & a, Shared<kDim> & shared, int group) {
    const int lane = threadIdx.x % kWarp;
    const int warp = threadIdx.x % kWarpgroup / kWarp;
    const int tiles = tiles_of(a);
    constexpr unsigned kKeyPanel = kKeys * kPanel * sizeof(__nv_bfloat16);
    const Operand q = operand_at(shared_address(shared.q + group * kGroupRows * kPanel), 0);
    const auto k_of = [&](int step) { return operand_at(shared_address(shared.k[step % kStages]), 0); };
    const auto v_of = [&](int step) { return operand_at(shared_address(shared.v[step % kStages]), kKeyPanel); };

    float out[kDim / 8][4] = {};
    float logits[kKeys / 8][4];
    unsigned weights[kKeys / 16][4];
    float correction[2];
    RowPair rows;
    wait_for(shared.k_places[0].filled, 0);
    start_logits<kDim>(q, k_of(0), logits);
    wait_for_products<0>();
    settle(logits);
    leave(shared.k_places[0], lane);
    cut_logits(last_keys_of(a), lane, logits);
    exponentiate(logits, a.scale, rows, correction);
    pack_all(logits, weights);
    if (group == 1 && tiles > 1) {
        pass_turn(group);
    }
    for (int step = 1; step < tiles; ++step) {
        Place & k_place = shared.k_places[step % kStages];
        Place & v_place = shared.v_places[(step - 1) % kStages];
        wait_for(k_place.filled, parity_of(step));
        wait_for(v_place.filled, parity_of(step - 1));
        take_turn(group);
        start_logits<kDim>(q, k_of(step), logits);
        start_values<kDim>(weights, v_of(step - 1), out);
        if (group == 0 || step + 1 < tiles) {
            pass_turn(group);
        }
        wait_for_products<1>();
        settle(logits);
        leave(k_place, lane);
        exponentiate(logits, a.scale, rows, correction);
        settle(logits);  // here and not after the wait, where the compiler would rather have it
        wait_for_products<0>();
        settle(out);
        leave(v_place, lane);
        correct(out, correction);
        pack_all(logits, weights);
    }
    wait_for(shared.v_places[(tiles - 1) % kStages].filled, parity_of(tiles - 1));
    start_values<kDim>(weights, v_of(tiles - 1), out);
    wait_for_products<0>();
    settle(out);
    const int64_t first_query = static_cast<int64_t>(blockIdx.x) * kQueries + group * kGroupRows + warp * 16;
    store_rows<kDim, /*kPlain=*/true>(a, first_query, blockIdx.y, lane, out, rows);
}

template <int kDim>
__global__ void __launch_bounds__(kThreads, 1) warpgroup_attention_kernel(AttentionArguments a) {
    Shared<kDim> & shared = *reinterpret_cast<Shared<kDim> *>(shared_panels());
    if (threadIdx.x == 0) {
        for (Place * places : {shared.k_places, shared.v_places}) {
            for (int stage = 0; stage < kStages; ++stage) {
                set_up(places[stage].filled, kWarpgroup);
                set_up(places[stage].read, kGroups * kWarpgroup / kWarp);
            }
        }
    }
    __syncthreads();
    const int group = static_cast<int>(threadIdx.x) / kWarpgroup;
    if (group == kGroups) {
        give_registers<kCopyingRegisters>();
        copy_all<kDim>(a, shared);
    } else {
        take_registers<kComputingRegisters>();
        compute<kDim>(a, shared, group);
    }
}

template <int kDim>
bool start(const CudaCall & call, const AttentionArguments & a) {
    if (!is_plain(a, kDim) || !has_code_of(reinterpret_cast<const void *>(&warpgroup_attention_kernel<kDim>))) {
        return false;
    }
    constexpr size_t kBytes = sizeof(Shared<kDim>) + kPanelAlignment;
    static_assert(offsetof(Shared<kDim>, k) % kPanelAlignment == 0 && offsetof(Shared<kDim>, v) % kPanelAlignment == 0);
    allow_shared("bf16_attention", &warpgroup_attention_kernel<kDim>, kBytes);
    const dim3 grid(static_cast<unsigned>(ceil_div(a.queries, kQueries)), static_cast<unsigned>(a.heads));
    launch("bf16_attention", call, &warpgroup_attention_kernel<kDim>, grid, dim3(kThreads), a, kBytes);
    return true;
}

}  // namespace

bool attend_by_warpgroups(const CudaCall & call, const AttentionArguments & arguments) {
    return takes_warpgroups && arguments.keys > 0 && (start<128>(call, arguments) || start<64>(call, arguments));
}

}  // namespace ltx::cuda
