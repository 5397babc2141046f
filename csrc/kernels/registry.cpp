#include "kernels/registry.h"

#include <array>

namespace ltx {

// Each is declared and described in its folder of ops/, which lies above this one.
using KernelFunction = void(ggml_tensor *, int, int, void *);
KernelFunction antialiased_snake_cpu, bf16_attention_cpu, bias_gelu_cpu, conv_cpu, conv3d_direct_cpu, conv3d_finish_cpu,
    conv3d_tapped_cpu, conv_transpose_cpu, depth_to_space_cpu, fit_rows_cpu, gated_residual_cpu, group_norm_silu_cpu,
    group_statistics_cpu, int8_linear_cpu, int8_rows_cpu, key_flags_cpu, linear_cpu, linear_few_cpu, linear_widened_cpu,
    mark_not_finite_cpu, mark_rows_cpu, modulate_cpu, norm_grid_rope_cpu, norm_split_rope_cpu, pad_frames_cpu,
    pixel_norm_silu_cpu, rescale_rows_cpu, round_rows_cpu, space_to_depth_cpu, window_attention_cpu;

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
    CustomOp{"fit_rows", &fit_rows_cpu},
    CustomOp{"gated_residual", &gated_residual_cpu},
    CustomOp{"group_norm_silu", &group_norm_silu_cpu},
    CustomOp{"group_statistics", &group_statistics_cpu},
    CustomOp{"int8_linear", &int8_linear_cpu},
    CustomOp{"int8_rows", &int8_rows_cpu},
    CustomOp{"key_flags", &key_flags_cpu},
    CustomOp{"linear", &linear_cpu},
    CustomOp{"linear_few", &linear_few_cpu},
    CustomOp{"linear_widened", &linear_widened_cpu},
    CustomOp{"mark_not_finite", &mark_not_finite_cpu},
    CustomOp{"mark_rows", &mark_rows_cpu},
    CustomOp{"modulate", &modulate_cpu},
    CustomOp{"norm_grid_rope", &norm_grid_rope_cpu},
    CustomOp{"norm_split_rope", &norm_split_rope_cpu},
    CustomOp{"pad_frames", &pad_frames_cpu},
    CustomOp{"pixel_norm_silu", &pixel_norm_silu_cpu},
    CustomOp{"rescale_rows", &rescale_rows_cpu},
    CustomOp{"round_rows", &round_rows_cpu},
    CustomOp{"space_to_depth", &space_to_depth_cpu},
    CustomOp{"window_attention", &window_attention_cpu},
};

}  // namespace

std::span<const CustomOp> custom_ops() {
    return kOps;
}

const CustomOp * custom_op_of(const ggml_tensor * node) {
    if (node->op != GGML_OP_CUSTOM) {
        return nullptr;
    }
    const CustomKernel kernel = kernel_of(node);
    for (const CustomOp & op : kOps) {
        if (op.cpu == kernel) {
            return &op;
        }
    }
    return nullptr;
}

}  // namespace ltx
