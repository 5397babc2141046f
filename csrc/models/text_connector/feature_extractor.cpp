#include "models/text_connector/feature_extractor.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "graph/product.h"
#include "ops/stock_product/stock_product.h"

namespace ltx {

namespace {

constexpr float kEps = 1e-6f;   // of both variants
constexpr float kRange = 8.0f;  // V1 maps the range of a state to this width

// The largest value of a matrix. ne: [1]
ggml_tensor * largest(ggml_context * ctx, ggml_tensor * x) {
    const auto width = static_cast<int>(x->ne[0]);
    const auto rows = static_cast<int>(x->ne[1]);
    // By rows first, which devices do side by side.
    x = ggml_pool_2d(ctx, x, GGML_OP_POOL_MAX, width, 1, width, 1, 0.0f, 0.0f);  // ne: [1, rows]
    return ggml_pool_2d(ctx, x, GGML_OP_POOL_MAX, 1, rows, 1, rows, 0.0f, 0.0f);
}

bool is_per_state(const FeatureProjection & projection) {
    return projection.weight->ne[2] > 1;
}

}  // namespace

FeatureExtractor FeatureExtractor::load(const Scope & scope, const FeatureExtractorConfig & c) {
    if (c.hidden_size < 1 || c.num_states < 2 || c.video_width < 1 ||
        c.audio_width < (c.variant == FeatureVariant::V1 ? 1 : 0)) {
        throw ConfigError(
            "text projection: hidden_size, num_states, video_width and audio_width must be positive, found ",
            Shape{c.hidden_size, c.num_states, c.video_width, c.audio_width});
    }
    const auto projection = [&](const char * name, int64_t width, bool with_bias, float factor) {
        const Scope own = scope.at(name);
        return FeatureProjection{
            .name = name,
            .weight = own.require("weight", {width, c.hidden_size, c.num_states}, WeightKind::Grouped),
            .bias = with_bias ? own.require("bias", {width}, WeightKind::Vector) : nullptr,
            .factor = factor,
        };
    };
    if (c.variant == FeatureVariant::V1) {
        return {c, {projection("aggregate_embed", c.video_width, false, 1.0f)}};
    }
    const auto factor = [&](int64_t width) {
        return static_cast<float>(std::sqrt(static_cast<double>(width) / static_cast<double>(c.hidden_size)));
    };
    FeatureExtractor extractor{c, {projection("video_aggregate_embed", c.video_width, true, factor(c.video_width))}};
    if (c.audio_width > 0) {
        extractor.projections.push_back(
            projection("audio_aggregate_embed", c.audio_width, true, factor(c.audio_width)));
    }
    return extractor;
}

FeatureAccumulator::FeatureAccumulator(Graph & graph, const FeatureExtractor & extractor, int64_t tokens)
    : graph_(graph), extractor_(extractor), tokens_(tokens), sums_(extractor.projections.size(), nullptr) {
    // A product converts its right operand to the type that goes with the weight; 16-bit weights take their own type,
    // so the conversion may as well happen on the way into the interleaved array, which it halves.
    ggml_type type = GGML_TYPE_COUNT;
    for (const FeatureProjection & projection : extractor.projections) {
        if (!is_per_state(projection)) {
            const ggml_type own = projection.weight->type;
            const bool half = own == GGML_TYPE_BF16 || own == GGML_TYPE_F16;
            type = half && (type == GGML_TYPE_COUNT || type == own) ? own : GGML_TYPE_F32;
        }
    }
    if (type != GGML_TYPE_COUNT) {
        interleaved_ =
            ggml_new_tensor_3d(graph.ctx(), type, extractor.config.num_states, extractor.config.hidden_size, tokens);
    }
}

ggml_tensor * FeatureAccumulator::normalise(ggml_tensor * state) const {
    ggml_context * ctx = graph_.ctx();
    if (extractor_.config.variant == FeatureVariant::V2) {
        return ggml_rms_norm(ctx, state, kEps);
    }
    const double count = static_cast<double>(ggml_nelements(state));
    ggml_tensor * sums = ggml_reshape_1d(ctx, ggml_sum_rows(ctx, state), state->ne[1]);  // ne: [tokens]
    ggml_tensor * sum = ggml_sum_rows(ctx, sums);                                        // ne: [1]
    ggml_tensor * mean = ggml_scale(ctx, sum, static_cast<float>(1.0 / (count + static_cast<double>(kEps))));
    ggml_tensor * range = ggml_add(ctx, largest(ctx, state), largest(ctx, ggml_neg(ctx, state)));  // ne: [1]
    ggml_tensor * centred = ggml_scale(ctx, ggml_sub(ctx, state, mean), kRange);
    return ggml_div(ctx, centred, ggml_scale_bias(ctx, range, 1.0f, kEps));  // ne: [hidden, tokens]
}

void FeatureAccumulator::add(int64_t index, ggml_tensor * state) {
    ggml_context * ctx = graph_.ctx();
    ggml_tensor * x = normalise(state);
    if (interleaved_) {
        ggml_tensor * place =
            ggml_view_3d(ctx, interleaved_, 1, extractor_.config.hidden_size, tokens_, interleaved_->nb[1],
                         interleaved_->nb[2], interleaved_->nb[0] * static_cast<size_t>(index));
        graph_.side_effect(ggml_cpy(ctx, ggml_reshape_3d(ctx, x, 1, extractor_.config.hidden_size, tokens_), place));
    }
    for (size_t i = 0; i < sums_.size(); ++i) {
        const FeatureProjection & projection = extractor_.projections[i];
        if (!is_per_state(projection)) {
            continue;
        }
        ggml_tensor * w = projection.weight;
        w = ggml_view_2d(ctx, w, w->ne[0], w->ne[1], w->nb[1], w->nb[2] * static_cast<size_t>(index));
        ggml_tensor * y = stock_product(graph_, w, x);  // ne: [width, tokens]
        sums_[i] = sums_[i] ? ggml_add(ctx, sums_[i], y) : y;
        // Settles that this sum is taken now; left to the order of the results, the second projection would be computed
        // after the whole of the first, and every state kept until then.
        graph_.side_effect(sums_[i]);
    }
}

std::vector<ggml_tensor *> FeatureAccumulator::finish() {
    ggml_context * ctx = graph_.ctx();
    std::vector<ggml_tensor *> features;
    for (size_t i = 0; i < sums_.size(); ++i) {
        const FeatureProjection & projection = extractor_.projections[i];
        ggml_tensor * y = sums_[i];
        if (!y) {
            ggml_tensor * x = ggml_reshape_2d(ctx, interleaved_, projection.weight->ne[0], tokens_);
            y = x->type == GGML_TYPE_F32 ? stock_product(graph_, projection.weight, x)
                                         : product(graph_, projection.weight, x);  // ne: [width, tokens]
        }
        if (projection.factor != 1.0f) {
            y = ggml_scale(ctx, y, projection.factor);
        }
        if (projection.bias) {
            y = ggml_add(ctx, y, projection.bias);
        }
        features.push_back(graph_.probe(projection.name, y));  // ne: [width, tokens]
    }
    return features;
}

}  // namespace ltx
