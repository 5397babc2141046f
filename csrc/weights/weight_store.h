// Binds stored tensors to the places in a network that use them, then loads them.
#pragma once

#include <initializer_list>
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
#include "kernels/rotation.h"
#include "weights/adapter.h"
#include "weights/low_rank.h"
#include "weights/weight_kind.h"

namespace ltx {

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

    // Claims weights of the same shape, stored apart, as one whose rows are those of each in turn: (names.size() *
    // shape[0], ...). Only for matrices and vectors. It is made at load; LoRAs of the parts are merged into it.
    ggml_tensor * require_stacked(std::initializer_list<std::string_view> names, const Shape & shape,
                                  WeightKind kind) const;

    // What LoRAs add to a matrix claimed before, for a caller that computes it beside the matrix. Nothing where there
    // is none; additions that nobody takes this way, or that the table's mode says to merge, are added at load.
    std::optional<LowRank> low_rank(std::string_view name) const;

    // What a matrix claimed before becomes 8-bit integers by, for a caller that multiplies those. Nothing where that
    // was not asked for or its rows cannot be rotated. Whether the matrix is held so, its type tells.
    std::optional<RotatedRows> rotated_rows(std::string_view name) const;

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
        bool is_part = false;                                   // of a stack, which holds its memory
        const std::vector<LowRankSource> * merged = nullptr;    // low-rank additions to make at load, or null
        const std::vector<AdapterSource> * adapters = nullptr;  // other adapters, or null
        std::optional<RotatedRows> rotated = std::nullopt;

        // The stored bytes are what the tensor is to hold, but for the order of a Conv or Grouped one.
        bool keeps_values(ggml_type type) const;
        // The same of the integers of rotated rows, whose scales are held apart.
        bool keeps_integers(ggml_type type) const;
    };

    // Weights that are stored apart and held as one.
    struct Stack {
        ggml_tensor * whole;
        std::vector<ggml_tensor *> parts;
    };

    static ggml_type held_type(const Claim & claim, const LoadTarget & target);
    static ggml_type matrix_type(const Claim & claim, const LoadTarget & target);
    ggml_tensor * claim(const std::string & name, const Shape & claimed, WeightKind kind, float addend, bool used,
                        bool is_part = false);
    ggml_tensor * claim_stacked(const std::vector<std::string> & names, const Shape & shape, WeightKind kind,
                                bool used);
    std::optional<LowRank> claim_low_rank(const std::string & name);
    std::optional<RotatedRows> claim_rotated_rows(const std::string & name);
    void settle_merged();
    void lay_out(const LoadTarget & target);
    void lay_out_stacks();
    void map_in_place();
    void place_parts() const;
    std::vector<ggml_tensor *> unplaced(bool on_host) const;
    static std::optional<MergedChanges> merged_changes(const Claim & claim, int threads);
    static void decode_rows(const Claim & claim, const std::optional<MergedChanges> & changes, int64_t first,
                            std::span<float> values, int64_t count);
    void fill(const Claim & claim, int threads) const;
    void fill_taps(const Claim & claim, int threads, std::byte * encoded) const;
    void fill_kernel(const Claim & claim, int threads, std::byte * encoded) const;
    void fill_rows(const Claim & claim, int threads, std::byte * encoded) const;
    void fill_integers(const Claim & claim, int threads, std::byte * encoded) const;
    void fill_scales(const Claim & claim) const;
    static void set_scales(const Claim & claim, std::span<const float> scales);

    std::string owner_;
    TensorTable table_;
    Context ctx_;
    Context aside_ctx_;          // tensors without memory of their own: weights not in use, parts of stacks
    std::vector<Claim> claims_;  // those in use
    std::map<std::string, ggml_tensor *> claimed_;
    std::vector<Stack> stacks_;
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
