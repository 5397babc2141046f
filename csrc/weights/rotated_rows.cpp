// Matrices held in 8-bit integers: rotated, and rounded by a scale for each row (ops/int8_linear).
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/parallel.h"
#include "kernels/int8/int8.h"
#include "weights/values.h"
#include "weights/weight_store.h"

namespace ltx {

namespace {

// Whether the stored numbers are those integers, with a scale for each row or one for all.
bool is_stored_so(const TensorSource & source, int64_t group) {
    const BlockScales * scales = source.scales.get();
    return source.dtype == DType::I8 && source.rotation == group &&
           (!scales || (scales->rows == 1 && scales->stored.shape[1] == 1 && !scales->tiled));
}

std::vector<float> stored_scales(const TensorSource & source) {
    std::vector<float> scales(static_cast<size_t>(source.shape[0]), source.scale);
    if (source.scales) {
        const TensorSource & stored = source.scales->stored;
        // As one column of a value in each row.
        apply_scales(*source.scales, stored.file->view(stored.offset, stored.size_bytes), 0, 1, scales);
    }
    return scales;
}

}  // namespace

std::optional<RotatedRows> WeightStore::claim_rotated_rows(const std::string & name) {
    const auto claim = std::ranges::find(claims_, name, &Claim::name);
    if (claim == claims_.end() || claim->kind != WeightKind::Matrix || claim->source->target != DType::I8) {
        return std::nullopt;
    }
    const ggml_tensor * held = claim->tensor;  // ne: [in, out]
    const int64_t group = claim->source->rotation ? claim->source->rotation : kRotationGroup;
    if (!claim->rotated && held->ne[0] % group == 0) {
        claim->rotated = {ggml_new_tensor_1d(ctx_.get(), GGML_TYPE_F32, held->ne[1]), group};
    }
    return claim->rotated;
}

bool WeightStore::Claim::keeps_integers(ggml_type type) const {
    return type == GGML_TYPE_I8 && rotated && is_stored_so(*source, rotated->group) && addend == 0.0f && !merged &&
           !adapters;
}

void WeightStore::fill_integers(const Claim & claim, int threads, std::byte * encoded) const {
    const TensorSource & source = *claim.source;
    if (claim.keeps_integers(GGML_TYPE_I8)) {
        const auto stored = source.file->view(source.offset, source.size_bytes);
        std::ranges::copy(stored, encoded);
        fill_scales(claim);
        return;
    }
    const int64_t width = claim.tensor->ne[0];
    const std::optional<MergedChanges> changes = merged_changes(claim, threads);
    const int64_t rows_at_once = changes ? kMergedRows : 1;
    std::vector<float> scales(static_cast<size_t>(claim.tensor->ne[1]));
    parallel_for(claim.tensor->ne[1], threads, [&](int64_t begin, int64_t end) {
        std::vector<float> values(static_cast<size_t>(std::min(rows_at_once, end - begin) * width));
        for (int64_t first = begin; first < end; first += rows_at_once) {
            const int64_t count = std::min(rows_at_once, end - first);
            std::byte * integers = encoded + first * width;
            const std::span rows(values.data(), static_cast<size_t>(count * width));
            decode_rows(claim, changes, first, rows, count);
            rotate_groups(claim.rotated->group, rows);
            for (int64_t r = 0; r < count; ++r) {
                scales[static_cast<size_t>(first + r)] =
                    round_to_int8(values.data() + r * width, width, reinterpret_cast<int8_t *>(integers) + r * width);
            }
        }
    });
    set_scales(claim, scales);
}

void WeightStore::fill_scales(const Claim & claim) const {
    set_scales(claim, stored_scales(*claim.source));
}

void WeightStore::set_scales(const Claim & claim, std::span<const float> scales) {
    if (!std::ranges::all_of(scales, [](float scale) { return std::isfinite(scale); })) {
        throw CheckpointError(claim.source->file->path(), ": tensor '", claim.name,
                              "' holds values that are not finite, which 8-bit integers would hide; the file is "
                              "damaged, so compare its checksum or fetch it again");
    }
    ggml_backend_tensor_set(claim.rotated->scales, scales.data(), 0, scales.size_bytes());
}

}  // namespace ltx
