#include "weights/weight_store.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/pages.h"
#include "base/parallel.h"
#include "base/stopping.h"
#include "weights/pack.h"
#include "weights/placement.h"
#include "weights/stored_shape.h"

namespace ltx {

namespace {

constexpr size_t kMaxListed = 12;

// Placeholders for missing weights need room too; past this many the report is made at once.
constexpr size_t kMaxProblems = 4096;

std::array<int64_t, GGML_MAX_DIMS> ne_of(const Shape & shape) {
    std::array<int64_t, GGML_MAX_DIMS> ne{1, 1, 1, 1};
    for (size_t i = 0; i < shape.size(); ++i) {
        ne[i] = shape[shape.size() - 1 - i];
    }
    return ne;
}

std::array<int64_t, GGML_MAX_DIMS> ne_of(const Shape & shape, WeightKind kind) {
    if (!is_conv(kind) && !is_kernel(kind)) {
        return ne_of(shape);
    }
    const int64_t taps = std::accumulate(shape.begin() + 2, shape.end(), int64_t{1}, std::multiplies<>());
    if (kind == WeightKind::Kernel) {
        return {shape[0], shape[1], taps, 1};
    }
    return {shape[1], shape[0], taps, 1};
}

}  // namespace

Scope Scope::at(std::string_view name) const {
    return {*store_, prefix_ + std::string(name) + ".", used_};
}

Scope Scope::at(std::string_view name, int index) const {
    return {*store_, prefix_ + std::string(name) + "." + std::to_string(index) + ".", used_};
}

ggml_tensor * Scope::require(std::string_view name, const Shape & shape, WeightKind kind, float addend) const {
    return store_->claim(prefix_ + std::string(name), shape, kind, addend, used_);
}

std::optional<LowRank> Scope::low_rank(std::string_view name) const {
    return used_ ? store_->claim_low_rank(prefix_ + std::string(name)) : std::nullopt;
}

std::optional<RotatedRows> Scope::rotated_rows(std::string_view name) const {
    return used_ ? store_->claim_rotated_rows(prefix_ + std::string(name)) : std::nullopt;
}

bool Scope::has(std::string_view name) const {
    return store_->table_.tensors().contains(prefix_ + std::string(name));
}

int Scope::count(std::string_view name) const {
    const auto & tensors = store_->table_.tensors();
    for (int index = 0;; ++index) {
        const std::string child = prefix_ + std::string(name) + "." + std::to_string(index) + ".";
        const auto found = tensors.lower_bound(child);
        if (found == tensors.end() || !found->first.starts_with(child)) {
            return index;
        }
    }
}

const Shape & Scope::shape_of(std::string_view name) const {
    const auto found = store_->table_.tensors().find(prefix_ + std::string(name));
    if (found == store_->table_.tensors().end()) {
        throw WeightError(store_->owner_, ": tensor '", prefix_, name, "' is missing");
    }
    return found->second.shape;
}

WeightStore::WeightStore(std::string owner, TensorTable table) : owner_(std::move(owner)), table_(std::move(table)) {
    const size_t count = 2 * table_.tensors().size() + 2 * table_.low_ranks().size() + kMaxProblems + 1;
    ctx_ = Context(ggml_tensor_overhead() * count);
    aside_ctx_ = Context(ggml_tensor_overhead() * count);
}

bool WeightStore::Claim::keeps_values(ggml_type type) const {
    return ggml_type_of(source->dtype) == type && source->is_plain() && addend == 0.0f && !merged && !adapters;
}

ggml_tensor * WeightStore::claim(const std::string & name, const Shape & claimed, WeightKind kind, float addend,
                                 bool used, bool is_part) {
    const Shape shape = kind == WeightKind::Grouped ? Shape{claimed[0], claimed[1] * claimed[2]} : claimed;
    if (const auto again = claimed_.find(name); again != claimed_.end()) {
        return again->second;
    }
    const auto found = table_.tensors().find(name);
    const TensorSource * source = found == table_.tensors().end() ? nullptr : &found->second;
    if (!source) {
        problems_.push_back("missing '" + name + "' of shape " + to_string(shape));
    } else if (source->shape != shape && !is_regrouped(source->shape, shape)) {
        problems_.push_back("'" + name + "' has shape " + to_string(source->shape) + ", expected " + to_string(shape));
    }
    if (problems_.size() >= kMaxProblems) {
        check_claims();
    }
    // The type is settled by load(); until then the tensor only carries its shape.
    const auto ne = ne_of(shape, kind);
    ggml_context * ctx = used && !is_part ? ctx_.get() : aside_ctx_.get();
    ggml_tensor * tensor = ggml_new_tensor(ctx, GGML_TYPE_F32, GGML_MAX_DIMS, ne.data());
    claimed_.emplace(name, tensor);
    if (source && used) {
        const int64_t groups = kind == WeightKind::Grouped ? claimed[2] : 1;
        claims_.push_back({name, source, kind, groups, addend, tensor, is_part});
    }
    return tensor;
}

void WeightStore::check_claims() const {
    std::vector<std::string> problems = problems_;
    for (const auto & [name, source] : table_.tensors()) {
        if (!claimed_.contains(name)) {
            problems.push_back("unknown '" + name + "' of shape " + to_string(source.shape));
        }
    }
    if (problems.empty()) {
        return;
    }
    std::string text = owner_ + ": " + std::to_string(problems.size()) +
                       " tensors do not fit the configuration (is it another model version?): ";
    for (size_t i = 0; i < std::min(problems.size(), kMaxListed); ++i) {
        text += (i ? "; " : "") + problems[i];
    }
    if (problems.size() > kMaxListed) {
        text += "; and " + std::to_string(problems.size() - kMaxListed) + " more";
    }
    throw WeightError(text);
}

ggml_type WeightStore::matrix_type(const Claim & claim, const LoadTarget & target) {
    const TensorSource & source = *claim.source;
    if (claim.rotated && target.multiplies_rotated(claim.tensor->ne[0], claim.tensor->ne[1], claim.rotated->group)) {
        return GGML_TYPE_I8;
    }
    const ggml_type type = ggml_type_of(source.target.value_or(source.dtype)).value_or(GGML_TYPE_BF16);
    if (type == GGML_TYPE_F16 && !target.zero_copy) {
        // Products of F16 weights add up in F16 on GPUs.
        return target.half_type;
    }
    const int64_t columns = claim.tensor->ne[0];
    const auto computes = [&](ggml_type held, int64_t width) {
        return claim.kind == WeightKind::Rows ? target.looks_up(held, width, /*rows=*/1)
                                              : target.multiplies(held, width);
    };
    const bool whole = columns % ggml_blck_size(type) == 0;
    // Blocks made anew lose as much again as the file has lost; a type that was asked for may do so.
    const bool scaled = !source.is_plain() && !source.target && ggml_is_quantized(type);
    if (scaled || (!claim.keeps_values(type) && !can_encode(type)) || (whole && !computes(type, columns))) {
        return GGML_TYPE_BF16;
    }
    return type;
}

ggml_type WeightStore::held_type(const Claim & claim, const LoadTarget & target) {
    const TensorSource & source = *claim.source;
    check_weight_dtype(source.dtype);
    const DType wanted = source.target.value_or(source.dtype);
    switch (claim.kind) {
        case WeightKind::Vector:
            return GGML_TYPE_F32;
        case WeightKind::Conv:
        case WeightKind::BoundedConv:
            if (wanted == DType::F32 || wanted == DType::F64) {
                return GGML_TYPE_F32;
            }
            if (target.direct_conv) {
                return GGML_TYPE_BF16;
            }
            return claim.kind == WeightKind::BoundedConv ? target.half_type : target.wide_type;
        case WeightKind::Kernel:
        case WeightKind::TransposedKernel: {
            const bool kept = wanted == DType::F32 || wanted == DType::F16 || wanted == DType::BF16;
            return kept ? *ggml_type_of(wanted) : GGML_TYPE_F32;
        }
        case WeightKind::Matrix:
        case WeightKind::Rows:
        case WeightKind::Grouped:
            return matrix_type(claim, target);
    }
    throw Error("unknown weight kind");
}

void WeightStore::lay_out(const LoadTarget & target) {
    if (laid_out_) {
        return;
    }
    check_claims();
    settle_merged();
    for (const Claim & claim : claims_) {
        ggml_tensor * tensor = claim.tensor;
        const TensorSource & source = *claim.source;
        const ggml_type type = held_type(claim, target);
        if (tensor->ne[0] % ggml_blck_size(type) != 0) {
            throw WeightError(owner_, ": tensor '", claim.name, "' has rows of ", tensor->ne[0], " elements, which ",
                              ggml_type_name(type), " cannot hold");
        }
        auto ne = std::to_array(tensor->ne);
        const bool direct = is_conv(claim.kind) && type == GGML_TYPE_BF16 && target.direct_conv;
        if (direct) {
            ne = {ne[0] * ne[2], ne[1], 1, 1};
        }
        const bool on_host = claim.kind == WeightKind::Rows && !target.looks_up(type, tensor->ne[0], tensor->ne[1]);
        if (on_host) {
            tensor->flags |= kOnHostFlag;
        }
        // Files of odd header lengths are copied.
        const bool aligned = source.offset % alignment_of(type) == 0;
        const bool kept = claim.keeps_values(type) || claim.keeps_integers(type);
        const bool in_place = (target.zero_copy || on_host) && aligned && kept && !claim.is_part &&
                              (!is_conv(claim.kind) || direct) && !is_kernel(claim.kind);
        if (claim.kind == WeightKind::Grouped && !in_place && !ggml_is_quantized(type)) {
            ne = {ne[0] / claim.groups, ne[1], claim.groups, 1};
        }
        set_layout(tensor, type, ne);
        if (in_place) {
            mapped_.emplace(tensor, &source);
        }
    }
    lay_out_stacks();
    laid_out_ = true;
}

void WeightStore::map_in_place() {
    std::map<const MappedFile *, ggml_backend_buffer_t> buffers;
    for (const Claim & claim : claims_) {
        if (!mapped_.contains(claim.tensor)) {
            continue;
        }
        const MappedFile & file = *claim.source->file;
        ggml_backend_buffer_t & buffer = buffers[&file];
        if (!buffer) {
            buffer = ggml_backend_cpu_buffer_from_ptr(file.base(), file.size());
            ggml_backend_buffer_set_usage(buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
            buffers_.emplace_back(buffer);
        }
        ggml_backend_tensor_alloc(buffer, claim.tensor, file.base() + claim.source->offset);
        claim.tensor->flags |= kMappedWeightFlag;
    }
}

std::vector<ggml_tensor *> WeightStore::unplaced(bool on_host) const {
    std::vector<ggml_tensor *> tensors;
    for (ggml_tensor * t = ggml_get_first_tensor(ctx_.get()); t; t = ggml_get_next_tensor(ctx_.get(), t)) {
        if (!t->data && is_on_host(t) == on_host) {
            tensors.push_back(t);
        }
    }
    return tensors;
}

void WeightStore::declare(const LoadTarget & target) {
    if (declared_ || loaded_) {
        return;
    }
    lay_out(target);
    map_in_place();
    // Before the others are counted, because no device has to have room for them.
    if (const auto tables = unplaced(/*on_host=*/true); !tables.empty()) {
        buffers_.push_back(place_nowhere(tables, GGML_BACKEND_BUFFER_USAGE_WEIGHTS));
    }
    own_bytes_ = ggml_backend_alloc_ctx_tensors_from_buft_size(ctx_.get(), target.buffer_type);
    buffers_.push_back(place_nowhere(unplaced(/*on_host=*/false), GGML_BACKEND_BUFFER_USAGE_WEIGHTS));
    declared_ = true;
}

void WeightStore::load(const LoadTarget & target) {
    if (loaded_) {
        return;
    }
    lay_out(target);
    check_files();
    for (ggml_tensor * t = ggml_get_first_tensor(ctx_.get()); t; t = ggml_get_next_tensor(ctx_.get(), t)) {
        t->buffer = nullptr;
        t->data = nullptr;
    }
    buffers_.clear();
    declared_ = false;
    map_in_place();
    if (const auto tables = unplaced(/*on_host=*/true); !tables.empty()) {
        buffers_.push_back(place_on(ggml_backend_cpu_buffer_type(), tables, GGML_BACKEND_BUFFER_USAGE_WEIGHTS));
        if (!buffers_.back()) {
            throw DeviceMemoryError(owner_, ": the tables that stay in host memory do not fit there");
        }
    }
    own_bytes_ = ggml_backend_alloc_ctx_tensors_from_buft_size(ctx_.get(), target.buffer_type);
    if (own_bytes_ > 0) {
        buffers_.push_back(
            place_on(target.buffer_type, unplaced(/*on_host=*/false), GGML_BACKEND_BUFFER_USAGE_WEIGHTS));
        if (!buffers_.back()) {
            throw DeviceMemoryError(owner_, ": the weights do not fit into the memory of the device");
        }
    }
    place_parts();
    for (const Claim & claim : claims_) {
        if (!mapped_.contains(claim.tensor)) {
            check_stopping();
            fill(claim, target.threads);
            // What was converted is not read again.
            claim.source->file->release(claim.source->offset, claim.source->size_bytes, /*drop_cached=*/false);
        } else if (claim.tensor->type == GGML_TYPE_I8) {
            fill_scales(claim);
        }
    }
    for (const auto & [name, low_rank] : low_ranks_) {
        LowRankFactors(name, table_.low_ranks().at(name), target.threads).fill(low_rank);
    }
    check_files();
    loaded_ = true;
}

void WeightStore::prefetch(const ggml_tensor * weight) const {
    if (const auto found = mapped_.find(weight); found != mapped_.end()) {
        const TensorSource & source = *found->second;
        source.file->prefetch(source.offset, source.size_bytes);
    }
}

void WeightStore::release(const ggml_tensor * weight, bool drop_cached) const {
    if (const auto found = mapped_.find(weight); found != mapped_.end()) {
        const TensorSource & source = *found->second;
        source.file->release(source.offset, source.size_bytes, drop_cached);
    }
}

std::optional<LowRank> WeightStore::claim_low_rank(const std::string & name) {
    if (const auto again = low_ranks_.find(name); again != low_ranks_.end()) {
        return again->second;
    }
    const auto sources = table_.low_ranks().find(name);
    const auto weight = claimed_.find(name);
    // What other adapters make of a weight is merged, and the pairs with it.
    if (sources == table_.low_ranks().end() || weight == claimed_.end() || table_.adapters().contains(name)) {
        return std::nullopt;
    }
    const ggml_tensor * held_as = weight->second;  // ne: [in, out]
    const TensorSource & source = table_.tensors().at(name);
    const std::optional<ggml_type> held = ggml_type_of(source.target.value_or(source.dtype));
    if (!runs_beside(table_.low_rank_mode(), held)) {
        return std::nullopt;
    }
    const int64_t rank = total_rank(sources->second);
    // Products round their right operand to the type of the left one; only float32 weights are worth more.
    const ggml_type type = held == GGML_TYPE_F32 ? GGML_TYPE_F32 : GGML_TYPE_BF16;
    const LowRank low_rank{ggml_new_tensor_2d(ctx_.get(), type, held_as->ne[0], rank),
                           ggml_new_tensor_2d(ctx_.get(), type, rank, held_as->ne[1])};
    low_ranks_.emplace(name, low_rank);
    return low_rank;
}

// What no module took to compute beside its weight is merged.
void WeightStore::settle_merged() {
    for (Claim & claim : claims_) {
        const auto pairs = table_.low_ranks().find(claim.name);
        const auto adapters = table_.adapters().find(claim.name);
        if (pairs != table_.low_ranks().end() && !low_ranks_.contains(claim.name)) {
            claim.merged = &pairs->second;
        }
        if (adapters != table_.adapters().end()) {
            claim.adapters = &adapters->second;
        }
        if ((claim.merged || claim.adapters) && !is_matrix(claim.kind)) {
            throw WeightError(owner_, ": tensor '", claim.name, "' is no matrix, so a LoRA cannot change it");
        }
    }
}

void WeightStore::check_files() const {
    std::set<const MappedFile *> files;
    for (const Claim & claim : claims_) {
        const TensorSource * scales = claim.source->scales ? &claim.source->scales->stored : claim.source;
        for (const MappedFile * file : {claim.source->file.get(), scales->file.get()}) {
            if (files.insert(file).second) {
                file->check_unchanged();
            }
        }
    }
}

uint64_t WeightStore::stored_bytes() const {
    return std::accumulate(claims_.begin(), claims_.end(), uint64_t{0},
                           [](uint64_t sum, const Claim & claim) { return sum + claim.source->size_bytes; });
}

}  // namespace ltx
