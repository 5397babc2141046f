// Weights that files store apart and a network uses as one: claimed one by one, filled side by side.
#include <algorithm>

#include "weights/placement.h"
#include "weights/weight_store.h"

namespace ltx {

ggml_tensor * Scope::require_stacked(std::initializer_list<std::string_view> names, const Shape & shape,
                                     WeightKind kind) const {
    std::vector<std::string> full;
    for (const std::string_view name : names) {
        full.push_back(prefix_ + std::string(name));
    }
    return store_->claim_stacked(full, shape, kind, used_);
}

ggml_tensor * WeightStore::claim_stacked(const std::vector<std::string> & names, const Shape & shape, WeightKind kind,
                                         bool used) {
    std::vector<ggml_tensor *> parts;
    for (const std::string & name : names) {
        parts.push_back(claim(name, shape, kind, 0.0f, used, /*is_part=*/true));
    }
    auto ne = std::to_array(parts.front()->ne);
    ne[shape.size() - 1] *= static_cast<int64_t>(parts.size());
    ggml_context * ctx = used ? ctx_.get() : aside_ctx_.get();
    ggml_tensor * whole = ggml_new_tensor(ctx, GGML_TYPE_F32, GGML_MAX_DIMS, ne.data());
    if (used) {
        stacks_.push_back({whole, std::move(parts)});
    }
    return whole;
}

// Parts are held in one type: in that of all of them, else in one that holds the values of each.
void WeightStore::lay_out_stacks() {
    for (const Stack & stack : stacks_) {
        ggml_type type = stack.parts.front()->type;
        if (!std::ranges::all_of(stack.parts, [&](const ggml_tensor * part) { return part->type == type; })) {
            type = GGML_TYPE_F32;
        }
        for (ggml_tensor * part : stack.parts) {
            set_layout(part, type, std::to_array(part->ne));
        }
        set_layout(stack.whole, type, std::to_array(stack.whole->ne));
    }
}

void WeightStore::place_parts() const {
    for (const Stack & stack : stacks_) {
        auto * data = static_cast<std::byte *>(stack.whole->data);
        for (ggml_tensor * part : stack.parts) {
            part->buffer = stack.whole->buffer;
            part->data = data;
            data += ggml_nbytes(part);
        }
    }
}

}  // namespace ltx
