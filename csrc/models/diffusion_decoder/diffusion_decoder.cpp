#include "models/diffusion_decoder/diffusion_decoder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "graph/parts.h"
#include "models/diffusion_decoder/cells.h"
#include "nn/timestep.h"
#include "ops/grid_rope/grid_rope.h"

namespace ltx {

namespace {

// Rows of a modulation; the gates among them are never used.
constexpr int64_t kModulationRows = 7;
constexpr int64_t kScaleAttention = 0;
constexpr int64_t kShiftAttention = 1;
constexpr int64_t kScaleMlp = 3;
constexpr int64_t kShiftMlp = 4;
constexpr int64_t kHiddenMultiple = 16;
// Each piece is many nodes for each part of the heads.
constexpr int64_t kMaxPiecesOfHeads = 24;
// Queries, keys and values are there of so many heads at once as take no more than a piece, but of this part at least.
constexpr int64_t kMaxPartsOfHeads = 4;

// `count` columns from number `first` on.
ggml_tensor * columns_of(Graph & graph, ggml_tensor * x, int64_t first, int64_t count) {
    return ggml_view_4d(graph.ctx(), x, x->ne[0], count, x->ne[2], x->ne[3], x->nb[1], x->nb[2], x->nb[3],
                        static_cast<size_t>(first) * x->nb[1]);
}

// x with `count` copies of its first and last column on both sides.
ggml_tensor * with_copied_columns(Graph & graph, ggml_tensor * x, int64_t count) {
    ggml_context * ctx = graph.ctx();
    const auto copies = [&](int64_t column) {
        return ggml_repeat_4d(ctx, ggml_cont(ctx, columns_of(graph, x, column, 1)), x->ne[0], count, x->ne[2],
                              x->ne[3]);
    };
    return ggml_concat(ctx, ggml_concat(ctx, copies(0), x, 1), copies(x->ne[1] - 1), 1);
}

void require_positive(int64_t value, const char * key) {
    if (value < 1) {
        throw ConfigError("video decoder: ", key, " must be at least 1, found ", value);
    }
}

// Queries, keys and values in one layer, which diffusers stores as three.
Linear load_qkv(const Scope & scope, int64_t channels) {
    if (!scope.has("to_q.weight")) {
        return Linear::load(scope.at("qkv"), channels, 3 * channels);
    }
    Linear layer;
    layer.weight =
        scope.require_stacked({"to_q.weight", "to_k.weight", "to_v.weight"}, {channels, channels}, WeightKind::Matrix);
    layer.bias = scope.require_stacked({"to_q.bias", "to_k.bias", "to_v.bias"}, {channels}, WeightKind::Vector);
    return layer;
}

int64_t hidden_width(int64_t channels) {
    return (4 * channels + kHiddenMultiple - 1) / kHiddenMultiple * kHiddenMultiple;
}

}  // namespace

int64_t DiffusionDecoderConfig::width_after(size_t stage) const {
    return stage + 1 < stages.size() ? stages[stage + 1].channels : channels;
}

void DiffusionDecoderConfig::check() const {
    require_positive(latent_channels, "latent_channels");
    require_positive(out_channels, "out_channels");
    require_positive(patch_size, "patch_size");
    require_positive(head_dim, "head_dim");
    require_positive(depth, "depth");
    require_positive(timestep_channels, "timestep_channels");
    if (!(timestep_scale > 0.0f) || !std::isfinite(timestep_scale)) {
        throw ConfigError("video decoder: timestep_scale must be above 0, found ", timestep_scale);
    }
    const auto check_width = [&](int64_t width) {
        require_positive(width, "stage_channels");
        if (head_dim % 8 != 0 || width % head_dim != 0) {
            throw ConfigError("video decoder: a width of ", width, " does not divide into heads of ", head_dim,
                              ", a multiple of 8");
        }
    };
    check_width(channels);
    for (size_t i = 0; i < stages.size(); ++i) {
        const DecoderStageConfig & stage = stages[i];
        check_width(stage.channels);
        require_positive(stage.depth, "stage_depths");
        require_positive(stage.reduction, "upsamples");
        if (stage.channels % stage.reduction != 0 || stage.channels / stage.reduction != width_after(i)) {
            throw ConfigError("video decoder: stage ", i, " turns ", stage.channels, " channels into ",
                              stage.channels / stage.reduction, ", but the next one has ", width_after(i));
        }
    }
}

WindowBlock WindowBlock::load(const Scope & scope, int64_t channels, int64_t head_dim, GridSize window) {
    const auto vector = [&](const char * name, int64_t width) {
        return scope.require(name, {width}, WeightKind::Vector);
    };
    const int64_t hidden = hidden_width(channels);
    return {
        .norm1 = vector("norm1.weight", channels),
        .norm2 = vector("norm2.weight", channels),
        .q_norm = vector("attn.q_norm.weight", head_dim),
        .k_norm = vector("attn.k_norm.weight", head_dim),
        .qkv = load_qkv(scope.at("attn"), channels),
        .proj = Linear::load(scope.at("attn.proj"), channels, channels),
        .w_gate = Linear::load(scope.at("mlp.w_gate"), channels, hidden, /*with_bias=*/false),
        .w_up = Linear::load(scope.at("mlp.w_up"), channels, hidden, /*with_bias=*/false),
        .w_down = Linear::load(scope.at("mlp.w_down"), hidden, channels, /*with_bias=*/false),
        .channels = channels,
        .head_dim = head_dim,
        .window = window,
    };
}

ggml_tensor * WindowBlock::queries_keys_values(Graph & graph, ggml_tensor * x, const Norm & norm, int64_t first,
                                               int64_t width) const {
    Parts all(graph, graph.unwritten(GGML_TYPE_F32, {3 * width, x->ne[1], x->ne[2], x->ne[3]}));
    // Those of all heads lie side by side in the layer.
    const int64_t together = width == channels ? 3 * width : width;
    for_pieces(cells_of(x), piece_of(x, channels, kMaxPiecesOfHeads), [&](int64_t cell, int64_t count) {
        ggml_tensor * normed = rounded_once(graph, norm(graph, rows_of_cells(graph, x, cell, count)), qkv.weight);
        for (int64_t part = 0; part < 3 * width; part += together) {
            const Linear layer = qkv.outputs(graph, part / width * channels + first, together);
            all.write_rows(layer.build(graph, normed), cell, part);
        }
    });
    const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    return norm_grid_rope(graph, all.all(), q_norm, k_norm, scale, kEps);
}

int64_t WindowBlock::heads_at_once(const Graph & graph, const ggml_tensor * x) const {
    const int64_t heads = channels / head_dim;
    if (!graph.fuses("window_attention")) {
        return heads;  // attention is many nodes then
    }
    const int64_t bytes = 3 * head_dim * cells_of(x) * static_cast<int64_t>(sizeof(float));
    const int64_t least = (heads + kMaxPartsOfHeads - 1) / kMaxPartsOfHeads;
    return std::clamp(kPieceBytes / bytes, least, heads);
}

ggml_tensor * WindowBlock::add_attention(Graph & graph, ggml_tensor * x, ggml_tensor * seen, const Norm & norm,
                                         EdgeRule edges) const {
    const RowEnds ends = edges == EdgeRule::Replicate ? RowEnds::Centre : RowEnds::Shift;
    const bool rounds = rounds_anyway(graph, proj.weight, cells_of(x));
    const ggml_type type = rounds ? GGML_TYPE_BF16 : GGML_TYPE_F32;
    Parts attended(graph, graph.unwritten(type, {channels, x->ne[1], x->ne[2], x->ne[3]}));
    for_pieces(channels, heads_at_once(graph, seen) * head_dim, [&](int64_t first, int64_t width) {
        ggml_tensor * qkv_of_heads = queries_keys_values(graph, seen, norm, first, width);
        attended.write_channels(window_attention(graph, qkv_of_heads, head_dim, window, ends), first);
    });
    ggml_tensor * all = attended.all();
    Parts result(graph, x);
    for_pieces(cells_of(x), piece_of(x, channels, kMaxPieces), [&](int64_t cell, int64_t count) {
        ggml_tensor * rows = rows_of_cells(graph, all, cell, count);
        result.write_rows(proj.build(graph, rows, {.residual = rows_of_cells(graph, x, cell, count)}), cell);
    });
    return result.all();
}

ggml_tensor * WindowBlock::add_mlp(Graph & graph, ggml_tensor * x, const Norm & norm) const {
    Parts result(graph, x);
    for_pieces(cells_of(x), piece_of(x, w_gate.weight->ne[1], kMaxPieces), [&](int64_t cell, int64_t count) {
        ggml_tensor * rows = rows_of_cells(graph, x, cell, count);
        ggml_tensor * normed = rounded_once(graph, norm(graph, rows), w_gate.weight);
        // ne: [hidden, cells of the piece]
        ggml_tensor * hidden = ggml_swiglu_split(graph.ctx(), w_gate.build(graph, normed), w_up.build(graph, normed));
        result.write_rows(w_down.build(graph, hidden, {.residual = rows}), cell);
    });
    return result.all();
}

ggml_tensor * WindowBlock::build(Graph & graph, ggml_tensor * x) const {
    return build(graph, x, 0, x->ne[3]);
}

ggml_tensor * WindowBlock::build(Graph & graph, ggml_tensor * x, int64_t first, int64_t count) const {
    const auto norm = [](ggml_tensor * weight) -> Norm {
        return [weight](Graph & g, ggml_tensor * cells) { return rms(g, cells, weight); };
    };
    // An input keeps its values.
    x = x->op == GGML_OP_NONE ? ggml_cont(graph.ctx(), x) : x;
    x = add_attention(graph, x, x, norm(norm1), EdgeRule::Shift);
    return add_mlp(graph, frames_of(graph, x, first, count), norm(norm2));
}

DiffusionBlock DiffusionBlock::load(const Scope & scope, const DiffusionDecoderConfig & config) {
    const auto gate = [&](const char * name) -> ggml_tensor * {
        return scope.has(name) ? scope.require(name, {config.channels}, WeightKind::Vector) : nullptr;
    };
    return {
        .block = WindowBlock::load(scope, config.channels, config.head_dim, config.window),
        .context_proj = Linear::load(scope.at("context_proj"), config.channels, config.channels),
        .scale_shift_table = scope.require("scale_shift_table", {kModulationRows, config.channels}, WeightKind::Vector),
        .gate_attention = gate("gate_msa"),
        .gate_mlp = gate("gate_mlp"),
        .gate_context = gate("gate_ctx"),
    };
}

DiffusionBlock DiffusionBlock::folded(Graph & graph, bool rounds) const {
    ggml_context * ctx = graph.ctx();
    const auto as = [&](ggml_tensor * x, ggml_type type) { return x->type == type ? x : ggml_cast(ctx, x, type); };
    const auto fold = [&](Linear & layer, ggml_tensor * gate) {
        if (!gate) {
            return;
        }
        const auto scaled = [&](ggml_tensor * values, ggml_tensor * factors) {
            ggml_tensor * product = ggml_mul(ctx, as(values, GGML_TYPE_F32), factors);
            return rounds ? ggml_cast(ctx, product, GGML_TYPE_BF16) : product;
        };
        layer.weight = scaled(layer.weight, ggml_reshape_2d(ctx, gate, 1, gate->ne[0]));
        if (layer.bias) {
            layer.bias = as(scaled(layer.bias, gate), GGML_TYPE_F32);
        }
    };
    DiffusionBlock result = *this;
    const ggml_type held = block.proj.weight->type;
    fold(result.block.proj, gate_attention);
    fold(result.block.w_down, gate_mlp);
    fold(result.context_proj, gate_context);
    if (held == GGML_TYPE_F32) {
        // Weights that are held as F32 multiply activations that are not rounded.
        for (Linear * layer : {&result.block.proj, &result.block.w_down, &result.context_proj}) {
            layer->weight = as(layer->weight, GGML_TYPE_F32);
        }
    }
    return result;
}

ggml_tensor * DiffusionBlock::build(Graph & graph, ggml_tensor * x, ggml_tensor * context, ggml_tensor * modulation,
                                    EdgeRule edges) const {
    ggml_context * ctx = graph.ctx();
    ggml_tensor * rows = ggml_add(ctx, modulation, scale_shift_table);
    const auto row = [&](int64_t index) {  // ne: [channels]
        return ggml_view_1d(ctx, rows, rows->ne[0], static_cast<size_t>(index) * rows->nb[1]);
    };
    // rms(y) weight (1 + scale) + shift
    const auto norm = [&](ggml_tensor * weight, int64_t scale, int64_t shift) -> WindowBlock::Norm {
        ggml_tensor * factor = ggml_add(ctx, weight, ggml_mul(ctx, weight, row(scale)));
        return [factor, added = row(shift)](Graph & g, ggml_tensor * y) {
            return ggml_add(g.ctx(), rms(g, y, factor), added);
        };
    };
    Parts entered(graph, x);
    for_pieces(cells_of(x), piece_of(x, x->ne[0], kMaxPieces), [&](int64_t cell, int64_t count) {
        ggml_tensor * part = rows_of_cells(graph, context, cell, count);
        ggml_tensor * residual = rows_of_cells(graph, x, cell, count);
        entered.write_rows(context_proj.build(graph, part, {.residual = residual}), cell);
    });
    x = entered.all();
    ggml_tensor * seen = edges == EdgeRule::Replicate ? with_copied_columns(graph, x, block.window.width / 2) : x;
    x = block.add_attention(graph, x, seen, norm(block.norm1, kScaleAttention, kShiftAttention), edges);
    return block.add_mlp(graph, x, norm(block.norm2, kScaleMlp, kShiftMlp));
}

ggml_tensor * DecoderStage::build(Graph & graph, ggml_tensor * x) const {
    for (size_t i = 0; i < blocks.size(); ++i) {
        const Graph::Scope scope = graph.scope(name + "." + std::to_string(i));
        x = graph.probe("", blocks[i].build(graph, x));
        graph.end_segment({x});
    }
    return x;
}

ggml_tensor * DecoderStage::enlarge(Graph & graph, ggml_tensor * x, bool drop_first) const {
    return depth_to_space(
        graph, over_cells(graph, x, up.weight->ne[1], [&](ggml_tensor * cells) { return up.build(graph, cells); }),
        stride, Packing::WidthFastest, drop_first && stride.time > 1);
}

DiffusionDecoder DiffusionDecoder::load(const Scope & root, const DiffusionDecoderConfig & config) {
    config.check();
    const Scope scope = root;
    const int64_t pixels = config.out_channels * config.patch_size * config.patch_size;
    DiffusionDecoder model;
    model.config = config;
    model.mean = scope.require("per_channel_statistics.mean-of-means", {config.latent_channels}, WeightKind::Vector);
    model.std = scope.require("per_channel_statistics.std-of-means", {config.latent_channels}, WeightKind::Vector);
    model.conv_in = Linear::load(scope.at("conv_in"), config.latent_channels, config.stages.front().channels);
    for (size_t i = 0; i < config.stages.size(); ++i) {
        const DecoderStageConfig & own = config.stages[i];
        const auto index = static_cast<int>(i);
        DecoderStage stage{
            .blocks = {},
            .up = Linear::load(scope.at("upsamples", index).at("proj"), own.channels,
                               own.stride.product() * own.channels / own.reduction),
            .stride = own.stride,
            .name = "det_stages." + std::to_string(i),
        };
        for (int block = 0; block < own.depth; ++block) {
            stage.blocks.push_back(WindowBlock::load(scope.at("det_stages", index).at(std::to_string(block)),
                                                     own.channels, config.head_dim, own.window));
        }
        model.stages.push_back(std::move(stage));
    }
    const int64_t width = config.timestep_channels;
    model.time_1 = Linear::load(scope.at("t_embedder.mlp.0"), kTimestepChannels, width);
    model.time_2 = Linear::load(scope.at("t_embedder.mlp.2"), width, width);
    model.shared_adaln = Linear::load(scope.at("shared_adaln.proj"), width, kModulationRows * config.channels);
    model.conv_in_x_t = Linear::load(scope.at("conv_in_x_t"), pixels, config.channels);
    for (int block = 0; block < config.depth; ++block) {
        model.blocks.push_back(DiffusionBlock::load(scope.at("diff_blocks", block), config));
    }
    model.norm_out = scope.require("norm_out.weight", {config.channels}, WeightKind::Vector);
    model.conv_out = Linear::load(scope.at("conv_out"), config.channels, pixels);
    return model;
}

ggml_tensor * DiffusionDecoder::enter(Graph & graph, ggml_tensor * latent) const {
    ggml_context * ctx = graph.ctx();
    ggml_tensor * x = ggml_add(ctx, ggml_mul(ctx, latent, std), mean);
    return over_cells(graph, x, config.stages.front().channels,
                      [&](ggml_tensor * cells) { return conv_in.build(graph, cells); });
}

namespace {

// The context as it stays beside all blocks: rounded, where each of them would round it.
ggml_type context_type(const Graph & graph, const std::vector<DiffusionBlock> & blocks, int64_t cells) {
    const bool rounds = std::ranges::all_of(blocks, [&](const DiffusionBlock & block) {
        return block.context_proj.weight->type == blocks.front().context_proj.weight->type &&
               rounds_anyway(graph, block.context_proj.weight, cells);
    });
    return rounds ? GGML_TYPE_BF16 : GGML_TYPE_F32;
}

// What the last stage makes of its result: coarse: [channels, W, H, T] -> the first frames of the finer grid, which are
// made some at a time.
ggml_tensor * finer_context(Graph & graph, const DecoderStage & stage, ggml_tensor * coarse,
                            const DiffusionDecoder::Tile & tile, const std::vector<DiffusionBlock> & blocks) {
    const int64_t width = stage.stride.width * coarse->ne[1];
    const int64_t height = stage.stride.height * coarse->ne[2];
    const int64_t channels = blocks.front().block.channels;
    const ggml_type type = context_type(graph, blocks, width * height * tile.frames);
    Parts context(graph, graph.unwritten(type, {channels, width, height, tile.frames}));
    const int64_t cells = piece_of(coarse, stage.up.weight->ne[1], kMaxPieces);
    const int64_t piece = std::max<int64_t>(cells / (coarse->ne[1] * coarse->ne[2]), 1);
    int64_t written = 0;
    for (int64_t first = 0; written < tile.frames; first += piece) {
        const int64_t count = std::min(piece, coarse->ne[3] - first);
        ggml_tensor * part =
            stage.enlarge(graph, frames_of(graph, coarse, first, count), tile.drop_first && first == 0);
        part = frames_of(graph, part, 0, std::min(part->ne[3], tile.frames - written));
        context.write_rows(rows_of_cells(graph, part), written * width * height);
        written += part->ne[3];
    }
    return context.all();
}

}  // namespace

ggml_tensor * DiffusionDecoder::frames(Graph & graph, const Tile & tile) const {
    ggml_context * ctx = graph.ctx();
    const DecoderStage & last = stages.back();
    ggml_tensor * coarse = last.build(graph, tile.features);
    std::vector<DiffusionBlock> layers;
    for (const DiffusionBlock & block : blocks) {
        layers.push_back(block.folded(graph, config.rounds_gated));
    }
    ggml_tensor * context = finer_context(graph, last, coarse, tile, layers);
    ggml_tensor * embedded = time_2.build(graph, ggml_silu(ctx, time_1.build(graph, tile.timestep)));
    ggml_tensor * modulation = shared_adaln.build(graph, ggml_silu(ctx, embedded));
    modulation = ggml_reshape_2d(ctx, modulation, config.channels, kModulationRows);
    const auto patch = static_cast<int32_t>(config.patch_size);
    const SpaceTimeFactor cell{1, patch, patch};
    ggml_tensor * noise = space_to_depth(graph, tile.noise, cell, Packing::HeightFastest);
    ggml_tensor * x =
        over_cells(graph, noise, config.channels, [&](ggml_tensor * cells) { return conv_in_x_t.build(graph, cells); });
    for (size_t i = 0; i < layers.size(); ++i) {
        const Graph::Scope scope = graph.scope("diff_blocks." + std::to_string(i));
        x = graph.probe("", layers[i].build(graph, x, context, modulation, tile.edges));
        graph.end_segment({x});
    }
    x = over_cells(graph, x, conv_out.weight->ne[1],
                   [&](ggml_tensor * cells) { return conv_out.build(graph, rms(graph, cells, norm_out)); });
    return depth_to_space(graph, x, cell, Packing::HeightFastest);
}

}  // namespace ltx
