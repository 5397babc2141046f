// Decoding and encoding of weights on their way from files into the tensors of a store.
#include <algorithm>

#include "base/error.h"
#include "base/parallel.h"
#include "weights/finite.h"
#include "weights/pack.h"
#include "weights/values.h"
#include "weights/weight_store.h"

namespace ltx {

namespace {

void add(std::span<float> values, float addend) {
    if (addend != 0.0f) {
        std::ranges::for_each(values, [=](float & v) { v += addend; });
    }
}

}  // namespace

void WeightStore::fill(const Claim & claim, int threads) const {
    const TensorSource & source = *claim.source;
    ggml_tensor * tensor = claim.tensor;
    const bool by_taps = (is_conv(claim.kind) || claim.kind == WeightKind::Grouped) && tensor->ne[2] > 1;
    if (!by_taps && !is_kernel(claim.kind) && claim.keeps_values(tensor->type)) {
        const auto stored = source.file->view(source.offset, source.size_bytes);
        ggml_backend_tensor_set(tensor, stored.data(), 0, stored.size());
        return;
    }
    const bool in_place = ggml_backend_buffer_is_host(tensor->buffer);
    std::vector<std::byte> staging(in_place ? 0 : ggml_nbytes(tensor));
    std::byte * encoded = in_place ? static_cast<std::byte *>(tensor->data) : staging.data();
    if (is_kernel(claim.kind)) {
        fill_kernel(claim, threads, encoded);
    } else if (by_taps) {
        fill_taps(claim, threads, encoded);
    } else if (tensor->type == GGML_TYPE_I8) {
        fill_integers(claim, threads, encoded);
    } else {
        fill_rows(claim, threads, encoded);
    }
    if (!in_place) {
        ggml_backend_tensor_set(tensor, staging.data(), 0, staging.size());
    }
}

std::optional<MergedChanges> WeightStore::merged_changes(const Claim & claim, int threads) {
    if (!claim.merged && !claim.adapters) {
        return std::nullopt;
    }
    const auto read = [&](int64_t first, std::span<float> rows, int64_t count) {
        decode_rows(claim, std::nullopt, first, rows, count);
    };
    return MergedChanges(claim.name, claim.merged, claim.adapters, claim.source->shape, read, threads);
}

// `values`: `count` rows from `first` on, in the order and the units of the network, changed by LoRAs.
void WeightStore::decode_rows(const Claim & claim, const std::optional<MergedChanges> & changes, int64_t first,
                              std::span<float> values, int64_t count) {
    decode_values(*claim.source, first * (static_cast<int64_t>(values.size()) / count), values);
    add(values, claim.addend);
    if (changes) {
        changes->add_to(first, count, values.data());
    }
}

// (out, in, taps) -> (taps, out, in), one output channel at a time.
void WeightStore::fill_taps(const Claim & claim, int threads, std::byte * encoded) const {
    const ggml_tensor * tensor = claim.tensor;
    const int64_t in = tensor->ne[0];
    const int64_t out = tensor->ne[1];
    const int64_t taps = tensor->ne[2];
    const std::optional<MergedChanges> changes = merged_changes(claim, threads);
    parallel_for(out, threads, [&](int64_t begin, int64_t end) {
        std::vector<float> kernel(static_cast<size_t>(in * taps));
        std::vector<float> row(static_cast<size_t>(in));
        for (int64_t o = begin; o < end; ++o) {
            decode_rows(claim, changes, o, kernel, 1);
            for (int64_t tap = 0; tap < taps; ++tap) {
                for (int64_t i = 0; i < in; ++i) {
                    row[static_cast<size_t>(i)] = kernel[static_cast<size_t>(i * taps + tap)];
                }
                from_float(tensor->type, row.data(), 1, in, encoded + tap * tensor->nb[2] + o * tensor->nb[1]);
            }
        }
    });
}

// (out, in, taps) or (in, out, taps) -> (taps, in, out), one input channel at a time.
void WeightStore::fill_kernel(const Claim & claim, int threads, std::byte * encoded) const {
    const ggml_tensor * tensor = claim.tensor;
    const int64_t out = tensor->ne[0];
    const int64_t in = tensor->ne[1];
    const int64_t taps = tensor->ne[2];
    const bool transposed = claim.kind == WeightKind::TransposedKernel;
    const int64_t in_stride = transposed ? out * taps : taps;
    const int64_t out_stride = transposed ? taps : in * taps;
    std::vector<float> values(static_cast<size_t>(out * in * taps));
    decode_rows(claim, std::nullopt, 0, values, 1);
    parallel_for(in, threads, [&](int64_t begin, int64_t end) {
        std::vector<float> rows(static_cast<size_t>(taps * out));
        for (int64_t i = begin; i < end; ++i) {
            for (int64_t o = 0; o < out; ++o) {
                const float * kernel = values.data() + i * in_stride + o * out_stride;
                for (int64_t tap = 0; tap < taps; ++tap) {
                    rows[static_cast<size_t>(tap * out + o)] = kernel[tap];
                }
            }
            for (int64_t tap = 0; tap < taps; ++tap) {
                from_float(tensor->type, rows.data() + tap * out, 1, out,
                           encoded + tap * tensor->nb[2] + i * tensor->nb[1]);
            }
        }
    });
}

void WeightStore::fill_rows(const Claim & claim, int threads, std::byte * encoded) const {
    const ggml_tensor * tensor = claim.tensor;
    const std::optional<MergedChanges> changes = merged_changes(claim, threads);
    const int64_t width = tensor->ne[0];
    const int64_t rows_at_once = changes ? kMergedRows : 1;
    parallel_for(ggml_nrows(tensor), threads, [&](int64_t begin, int64_t end) {
        std::vector<float> rows(static_cast<size_t>(std::min(rows_at_once, end - begin) * width));
        for (int64_t first = begin; first < end; first += rows_at_once) {
            const int64_t count = std::min(rows_at_once, end - first);
            decode_rows(claim, changes, first, {rows.data(), static_cast<size_t>(count * width)}, count);
            if (ggml_is_quantized(tensor->type) && !are_finite({rows.data(), static_cast<size_t>(count * width)})) {
                throw CheckpointError(claim.source->file->path(), ": tensor '", claim.name,
                                      "' holds values that are not finite, which ", ggml_type_name(tensor->type),
                                      " would hide; the file is damaged, so compare its checksum or fetch it again");
            }
            from_float(tensor->type, rows.data(), count, width, encoded + first * tensor->nb[1]);
        }
    });
}

std::vector<float> WeightStore::read_f32(const ggml_tensor * weight) const {
    const auto claim = std::ranges::find(claims_, weight, &Claim::tensor);
    if (claim == claims_.end()) {
        throw Error(owner_, ": a weight is read that was never claimed");
    }
    if (table_.low_ranks().contains(claim->name) || table_.adapters().contains(claim->name)) {
        throw WeightError(owner_, ": tensor '", claim->name, "' is folded into others, so a LoRA cannot change it");
    }
    const TensorSource & source = *claim->source;
    source.file->check_unchanged();
    std::vector<float> values(static_cast<size_t>(element_count(source.shape)));
    decode_rows(*claim, std::nullopt, 0, values, 1);
    source.file->check_unchanged();
    return values;
}

}  // namespace ltx
