// The diffusion video decoder of LTX-2.5: a latent and noise become frames through transformers over windows.
// Source: ltx-core 1.2.0, NADiffusionDecoder.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nn/linear.h"
#include "ops/depth_to_space/depth_to_space.h"
#include "ops/window_attention/window_attention.h"

namespace ltx {

// Transformer blocks over a grid, and the grid that follows.
struct DecoderStageConfig {
    int64_t channels;
    int64_t depth;
    GridSize window;
    SpaceTimeFactor stride;  // how much finer the next grid is
    int64_t reduction;       // channels of a cell times those of the stride's cells, over this
};

struct DiffusionDecoderConfig {
    int64_t latent_channels;
    int64_t out_channels;
    int64_t patch_size;
    int64_t head_dim;
    std::vector<DecoderStageConfig> stages;  // four; the last makes the context of the fifth
    int64_t channels;                        // of the fifth stage, which denoises
    int64_t depth;
    GridSize window;
    int64_t timestep_channels;
    float timestep_scale;
    bool rounds_gated;  // weights are BF16 in the file, and so is what a gate makes of them

    // Channels of a stage's result.
    int64_t width_after(size_t stage) const;
    // Throws ConfigError for values that no graph can be built from.
    void check() const;
};

// How queries at the left and right border of the picture see: windows shifted inwards, or centred over copies of the
// border's column. Height and time always shift.
enum class EdgeRule { Shift, Replicate };

// Attention with windows and a gated feed-forward, both over cells.
struct WindowBlock {
    ggml_tensor * norm1 = nullptr;  // ne: [channels]
    ggml_tensor * norm2 = nullptr;
    ggml_tensor * q_norm = nullptr;  // ne: [head_dim]
    ggml_tensor * k_norm = nullptr;
    Linear qkv, proj;
    Linear w_gate, w_up, w_down;
    int64_t channels = 0;
    int64_t head_dim = 0;
    GridSize window{};

    static WindowBlock load(const Scope & scope, int64_t channels, int64_t head_dim, GridSize window);

    // What comes before a layer, cell by cell: [channels, cells] -> the same shape.
    using Norm = std::function<ggml_tensor *(Graph &, ggml_tensor *)>;

    // x: [channels, W, H, T]; seen: the same, for Replicate with the copied columns -> x + attention in the memory of
    // x. Queries, keys and values are there for some heads at a time only.
    ggml_tensor * add_attention(Graph & graph, ggml_tensor * x, ggml_tensor * seen, const Norm & norm,
                                EdgeRule edges) const;

    // x: [channels, W, H, T] -> x + feed-forward in the memory of x
    ggml_tensor * add_mlp(Graph & graph, ggml_tensor * x, const Norm & norm) const;

    // x + attention + feed-forward
    ggml_tensor * build(Graph & graph, ggml_tensor * x) const;

    // `count` frames of that from number `first` on; the other frames are only looked at.
    ggml_tensor * build(Graph & graph, ggml_tensor * x, int64_t first, int64_t count) const;

private:
    // x: [channels, W, H, T] -> [3 * width, W, H, T], normed and rotated: of heads with `width` channels from number
    // `first` on
    ggml_tensor * queries_keys_values(Graph & graph, ggml_tensor * x, const Norm & norm, int64_t first,
                                      int64_t width) const;
    int64_t heads_at_once(const Graph & graph, const ggml_tensor * x) const;
};

// A block of the fifth stage: the context comes in first, and the noise level sets scales and shifts.
struct DiffusionBlock {
    WindowBlock block;
    Linear context_proj;
    ggml_tensor * scale_shift_table = nullptr;  // ne: [channels, 7]
    // Fixed factors of what each branch adds, ne: [channels]; null where the file has none. They are folded into the
    // last layer of the branch.
    ggml_tensor * gate_attention = nullptr;
    ggml_tensor * gate_mlp = nullptr;
    ggml_tensor * gate_context = nullptr;

    static DiffusionBlock load(const Scope & scope, const DiffusionDecoderConfig & config);

    // The block with its gates folded in.
    DiffusionBlock folded(Graph & graph, bool rounds) const;

    // x, context: [channels, W, H, T]; modulation: [channels, 7]. The result is in the memory of x.
    ggml_tensor * build(Graph & graph, ggml_tensor * x, ggml_tensor * context, ggml_tensor * modulation,
                        EdgeRule edges) const;
};

struct DecoderStage {
    std::vector<WindowBlock> blocks;
    Linear up;
    SpaceTimeFactor stride;
    std::string name;

    // The blocks. x: [channels, W, H, T]
    ggml_tensor * build(Graph & graph, ggml_tensor * x) const;

    // x: [channels, W, H, T] -> the finer grid. `drop_first`: of two frames made from the first one, the first goes.
    ggml_tensor * enlarge(Graph & graph, ggml_tensor * x, bool drop_first) const;
};

struct DiffusionDecoder {
    DiffusionDecoderConfig config;
    ggml_tensor * mean = nullptr;  // ne: [latent_channels]
    ggml_tensor * std = nullptr;
    Linear conv_in;
    std::vector<DecoderStage> stages;
    Linear time_1, time_2, shared_adaln;
    Linear conv_in_x_t;
    std::vector<DiffusionBlock> blocks;
    ggml_tensor * norm_out = nullptr;
    Linear conv_out;

    static DiffusionDecoder load(const Scope & scope, const DiffusionDecoderConfig & config);

    // latent: normalised [latent_channels, w, h, F] -> [channels, w, h, F], what the first stage takes
    ggml_tensor * enter(Graph & graph, ggml_tensor * latent) const;

    struct Tile {
        ggml_tensor * features;  // part of what the third stage gave
        ggml_tensor * noise;     // [3, width, height, frames]
        ggml_tensor * timestep;  // [256, 1], the sinusoid
        bool drop_first;         // the tile begins with the clip
        int64_t frames;          // of the context that are kept, from the first on
        EdgeRule edges;
    };

    // The fourth stage, and one evaluation of the fifth -> [3, width, height, frames]
    ggml_tensor * frames(Graph & graph, const Tile & tile) const;
};

}  // namespace ltx
