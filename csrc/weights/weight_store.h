// Binds stored tensors to the places in a network that use them, then loads them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ggml-backend.h"
#include "ggml-cpp.h"
#include "graph/context.h"
#include "io/tensor_table.h"
#include "weights/adapter.h"
#include "weights/low_rank.h"

namespace ltx {

// How a weight is held after loading.
enum class WeightKind {
    Matrix,  // left operand of products: the target type, else as stored; bfloat16 where that is fp8, f64, no type
             // that the device multiplies, quantised with a scale beside it, or one that takes no changed values
             // (can_encode)
    Rows,    // the same for a matrix whose rows are looked up
    Vector,  // norms, biases, modulation tables: always F32
    // Convolution kernels (out, in, k...): F32 when stored or asked for so, else 16 bits. Repacked into one matrix per
    // tap, ne [in, out, taps]; or, 16 bits where the device takes them so, in the order of the file, ne [in * taps,
    // out].
    Conv,
    // The same for kernels whose input is known to stay within the range of F16.
    BoundedConv,
    // Kernels (out, in, k...) of the exact float32 convolutions (ops/conv): one matrix per tap, the output channel
    // fastest, ne [out, in, taps]. Held as stored or asked for where that is F32, F16 or BF16, else F32.
    Kernel,
    // The same for transposed convolutions, which files store as (in, out, k).
    TransposedKernel,
    // Matrices whose columns belong to `groups` inputs, the group fastest: claimed as (out, in, groups), stored as
    // (out, in * groups). Held as stored, ne [in * groups, out], where that needs no copy or where blocks of a
    // quantised type cannot be reordered; else repacked like Conv into one matrix per group, ne [in, out, groups].
    Grouped,
};

// Whether the kind holds the kernels of ops/conv3d.
inline bool is_conv(WeightKind kind) {
    return kind == WeightKind::Conv || kind == WeightKind::BoundedConv;
}

// Whether the kind holds what LoRAs can change.
inline bool is_matrix(WeightKind kind) {
    return kind == WeightKind::Matrix || kind == WeightKind::Rows || kind == WeightKind::Grouped;
}

// Whether the kind holds the kernels of ops/conv.
inline bool is_kernel(WeightKind kind) {
    return kind == WeightKind::Kernel || kind == WeightKind::TransposedKernel;
}

// What loading needs to know of the device.
struct LoadTarget {
    ggml_backend_buffer_type_t buffer_type;
    bool zero_copy;       // weights may be used where the file is mapped
    ggml_type half_type;  // the 16-bit type for convolution kernels with a bounded input
    ggml_type wide_type;  // the one for others: activations are rounded to it, and may pass what F16 holds
    bool direct_conv;     // BF16 convolution kernels are used in the order of the file
    // Whether the device multiplies a matrix of this type and this many columns, or looks up rows of it.
    std::function<bool(ggml_type, int64_t)> multiplies;
    std::function<bool(ggml_type, int64_t)> looks_up;
    int threads;
};

class WeightStore;

// A prefix of canonical names: scope.at("attn1").require("to_q.weight", {out, in}, WeightKind::Matrix).
class Scope {
public:
    Scope(WeightStore & store, std::string prefix, bool used = true)
        : store_(&store), prefix_(std::move(prefix)), used_(used) {}

    Scope at(std::string_view name) const;
    Scope at(std::string_view name, int index) const;

    // The same prefix for weights that no run needs unless `used`: names and shapes are checked, nothing is loaded, and
    // the tensors must not appear in a graph.
    Scope used_if(bool used) const { return {*store_, prefix_, used_ && used}; }

    // Claims a weight of the given shape (outermost axis first), which a file may group otherwise (is_regrouped). A
    // missing or misshaped one is noted, reported by check_claims, and a placeholder is returned. `addend` is added to
    // every value at load, for F32 weights that files store less a constant.
    ggml_tensor * require(std::string_view name, const Shape & shape, WeightKind kind, float addend = 0.0f) const;

    // What LoRAs add to a matrix claimed before, for a caller that computes it beside the matrix. Nothing where there
    // is none; additions that nobody takes this way, or that the table's mode says to merge, are added at load.
    std::optional<LowRank> low_rank(std::string_view name) const;

    bool has(std::string_view name) const;

    // Number of consecutive children "name.0.", "name.1." ...
    int count(std::string_view name) const;

    // The stored shape; throws WeightError when the tensor is missing.
    const Shape & shape_of(std::string_view name) const;

private:
    WeightStore * store_;
    std::string prefix_;
    bool used_;
};

// Life: claim through scopes, check_claims, load, run. Tensors stay valid as long as the store.
class WeightStore {
public:
    // `owner` names the component in messages.
    WeightStore(std::string owner, TensorTable table);

    Scope root() { return {*this, ""}; }

    // Throws one WeightError that lists all missing, misshaped and unclaimed names.
    void check_claims() const;

    // Maps or converts every claimed weight. Repeated calls do nothing. Throws DeviceMemoryError, UnsupportedError,
    // CheckpointError.
    void load(const LoadTarget & target);

    // Settles types and layouts as load() would, so that graphs can be built and measured; the tensors must not be
    // computed with before load(). Does nothing when loaded.
    void declare(const LoadTarget & target);

    // Bytes that weights occupy beside the mapped files, once declared or loaded.
    uint64_t own_bytes() const { return own_bytes_; }

    // Whether a weight of this store, declared or loaded, is used where its file is mapped.
    bool is_mapped(const ggml_tensor * weight) const { return mapped_.contains(weight); }

    // Advice about the pages of a mapped weight, as in MappedFile; nothing happens for other tensors.
    void prefetch(const ggml_tensor * weight) const;
    void release(const ggml_tensor * weight, bool drop_cached) const;

    // Throws CheckpointError when a mapped file changed or could not be read; call before and after each run.
    void check_files() const;

    // Bytes of stored data behind the claims that are used.
    uint64_t stored_bytes() const;

    // The values of a claimed weight, for constants that are folded on the host. Works before load.
    std::vector<float> read_f32(const ggml_tensor * weight) const;

private:
    friend class Scope;

    struct Claim {
        std::string name;
        const TensorSource * source;
        WeightKind kind;
        int64_t groups;
        float addend;
        ggml_tensor * tensor;
        const std::vector<LowRankSource> * merged = nullptr;    // low-rank additions to make at load, or null
        const std::vector<AdapterSource> * adapters = nullptr;  // other adapters, or null

        // The stored bytes are what the tensor is to hold, but for the order of a Conv or Grouped one.
        bool keeps_values(ggml_type type) const;
    };

    static ggml_type held_type(const Claim & claim, const LoadTarget & target);
    static ggml_type matrix_type(const Claim & claim, const LoadTarget & target);
    ggml_tensor * claim(const std::string & name, const Shape & claimed, WeightKind kind, float addend, bool used);
    std::optional<LowRank> claim_low_rank(const std::string & name);
    void settle_merged();
    void lay_out(const LoadTarget & target);
    void map_in_place();
    std::vector<ggml_tensor *> unplaced() const;
    static std::optional<MergedChanges> merged_changes(const Claim & claim, int threads);
    static void decode_rows(const Claim & claim, const std::optional<MergedChanges> & changes, int64_t first,
                            std::span<float> values, int64_t count);
    void fill(const Claim & claim, int threads) const;
    void fill_taps(const Claim & claim, int threads, std::byte * encoded) const;
    void fill_kernel(const Claim & claim, int threads, std::byte * encoded) const;
    void fill_rows(const Claim & claim, int threads, std::byte * encoded) const;

    std::string owner_;
    TensorTable table_;
    Context ctx_;
    Context unused_ctx_;
    std::vector<Claim> claims_;  // those in use
    std::map<std::string, ggml_tensor *> claimed_;
    std::map<std::string, LowRank> low_ranks_;  // by weight, those computed at run time
    std::vector<std::string> problems_;
    std::vector<ggml_backend_buffer_ptr> buffers_;
    std::map<const ggml_tensor *, const TensorSource *> mapped_;
    uint64_t own_bytes_ = 0;
    bool laid_out_ = false;
    bool declared_ = false;
    bool loaded_ = false;
};

}  // namespace ltx
