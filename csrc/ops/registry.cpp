#include "ops/registry.h"

#include <array>

#include "ops/attention/attention.h"
#include "ops/bias_gelu/bias_gelu.h"
#include "ops/conv/conv.h"
#include "ops/conv3d/conv3d.h"
#include "ops/depth_to_space/depth_to_space.h"
#include "ops/gated_residual/gated_residual.h"
#include "ops/group_norm/group_norm.h"
#include "ops/linear/linear.h"
#include "ops/modulate/modulate.h"
#include "ops/pad/pad.h"
#include "ops/pixel_norm/pixel_norm.h"
#include "ops/snake/snake.h"
#include "ops/split_rope/split_rope.h"

namespace ltx {

namespace {

constexpr std::array kOps{
    CustomOp{"antialiased_snake", &antialiased_snake_cpu},
    CustomOp{"attention", &bf16_attention_cpu},
    CustomOp{"bias_gelu", &bias_gelu_cpu},
    CustomOp{"conv", &conv_cpu},
    CustomOp{"conv3d_direct", &conv3d_direct_cpu},
    CustomOp{"conv3d_finish", &conv3d_finish_cpu},
    CustomOp{"conv3d_tapped", &conv3d_tapped_cpu},
    CustomOp{"conv_transpose", &conv_transpose_cpu},
    CustomOp{"depth_to_space", &depth_to_space_cpu},
    CustomOp{"gated_residual", &gated_residual_cpu},
    CustomOp{"group_norm_silu", &group_norm_silu_cpu},
    CustomOp{"group_statistics", &group_statistics_cpu},
    CustomOp{"linear", &linear_cpu},
    CustomOp{"modulate", &modulate_cpu},
    CustomOp{"norm_split_rope", &norm_split_rope_cpu},
    CustomOp{"pad_frames", &pad_frames_cpu},
    CustomOp{"pixel_norm_silu", &pixel_norm_silu_cpu},
    CustomOp{"round_rows", &round_rows_cpu},
    CustomOp{"space_to_depth", &space_to_depth_cpu},
};

}  // namespace

std::span<const CustomOp> custom_ops() {
    return kOps;
}

const CustomOp * custom_op_of(const ggml_tensor * node) {
    if (node->op != GGML_OP_CUSTOM) {
        return nullptr;
    }
    CustomKernel kernel = nullptr;
    std::memcpy(&kernel, node->op_params, sizeof(kernel));
    for (const CustomOp & op : kOps) {
        if (op.cpu == kernel) {
            return &op;
        }
    }
    return nullptr;
}

}  // namespace ltx
