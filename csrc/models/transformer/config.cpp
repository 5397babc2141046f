#include "models/transformer/config.h"

#include <cmath>

#include "base/error.h"

namespace ltx {

namespace {

// Far beyond any model; keeps products of sizes inside int64 and ggml's row counts.
constexpr int64_t kMaxExtent = int64_t{1} << 20;

void check_extent(const std::string & name, int64_t value) {
    if (value < 1 || value > kMaxExtent) {
        throw ConfigError("transformer: ", name, " is ", value, "; expected 1 to ", kMaxExtent);
    }
}

void check_positive(const std::string & name, double value) {
    if (!std::isfinite(value) || value <= 0) {
        throw ConfigError("transformer: ", name, " is ", value, "; expected a positive number");
    }
}

void check_stream(const StreamConfig & stream) {
    check_extent(stream.names.prefix + "num_heads", stream.num_heads);
    check_extent(stream.names.prefix + "head_dim", stream.head_dim);
    check_extent(stream.names.prefix + "in_channels", stream.in_channels);
    check_extent(stream.names.prefix + "out_channels", stream.out_channels);
    check_extent(stream.names.prefix + "cross_attention_dim", stream.context_width);
    check_extent(stream.names.prefix + "width", stream.width());
    if (stream.head_dim % 2 != 0) {
        throw ConfigError("transformer: ", stream.names.prefix, "head_dim is ", stream.head_dim,
                          "; rotary embedding needs an even number");
    }
    // A ladder of fewer than two frequencies has no spacing.
    if (stream.width() < 4 * stream.axes()) {
        throw ConfigError("transformer: the ", stream.names.prefix, "width ", stream.width(), " is too small for ",
                          stream.axes(), " position axes");
    }
    for (const double extent : stream.max_pos) {
        check_positive(stream.names.prefix + "max_pos", extent);
    }
}

}  // namespace

void TransformerConfig::check() const {
    check_extent("num_layers", num_layers);
    check_stream(video);
    if (audio) {
        check_stream(*audio);
    }
    check_positive("norm_eps", norm_eps);
    check_positive("rope_theta", rope_theta);
    check_positive("timestep_scale", timestep_scale);
    check_positive("av_gate_timestep_scale", av_gate_timestep_scale);
    for (const StreamConfig * stream : {&video, audio ? &*audio : nullptr}) {
        if (!stream) {
            continue;
        }
        const bool context_is_stream_wide = cross_attention_adaln || caption_projection;
        if (context_is_stream_wide && stream->context_width != stream->width()) {
            throw ConfigError("transformer: ", stream->names.prefix, "cross_attention_dim is ", stream->context_width,
                              ", expected the stream's width ", stream->width());
        }
    }
    if (caption_projection) {
        check_extent("caption_channels", caption_channels);
    }
}

}  // namespace ltx
