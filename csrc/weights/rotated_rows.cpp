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

float scale_of_row(const TensorSource & source, int64_t row) {
    float scale = source.scale;
    if (source.scales) {
        const TensorSource & stored = source.scales->stored;
        const int64_t width = source.shape[1];
        apply_scales(*source.scales, stored.file->view(stored.offset, stored.size_bytes), row * width, width,
                     {&scale, 1});
    }
    return scale;
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

void WeightStore::fill_integers(const Claim & claim, int threads, std::byte * encoded) const {
    const TensorSource & source = *claim.source;
    const int64_t width = claim.tensor->ne[0];
    const int64_t group = claim.rotated->group;
    const std::optional<MergedChanges> changes = merged_changes(claim, threads);
    const bool copied = is_stored_so(source, group) && !changes;
    const auto stored = source.file->view(source.offset, source.size_bytes);
    const int64_t rows_at_once = changes ? kMergedRows : 1;
    std::vector<float> scales(static_cast<size_t>(claim.tensor->ne[1]));
    parallel_for(claim.tensor->ne[1], threads, [&](int64_t begin, int64_t end) {
        std::vector<float> values(static_cast<size_t>(std::min(rows_at_once, end - begin) * width));
        for (int64_t first = begin; first < end; first += rows_at_once) {
            const int64_t count = std::min(rows_at_once, end - first);
            std::byte * integers = encoded + first * width;
            if (copied) {
                std::copy_n(stored.data() + first * width, width, integers);
                scales[static_cast<size_t>(first)] = scale_of_row(source, first);
                continue;
            }
            const std::span rows(values.data(), static_cast<size_t>(count * width));
            decode_rows(claim, changes, first, rows, count);
            rotate_groups(group, rows);
            for (int64_t r = 0; r < count; ++r) {
                scales[static_cast<size_t>(first + r)] =
                    round_to_int8(values.data() + r * width, width, reinterpret_cast<int8_t *>(integers) + r * width);
            }
        }
    });
    if (!std::ranges::all_of(scales, [](float scale) { return std::isfinite(scale); })) {
        throw CheckpointError(source.file->path(), ": tensor '", claim.name,
                              "' holds values that are not finite, which 8-bit integers would hide; the file is "
                              "damaged, so compare its checksum or fetch it again");
    }
    ggml_backend_tensor_set(claim.rotated->scales, scales.data(), 0, scales.size() * sizeof(float));
}

}  // namespace ltx
