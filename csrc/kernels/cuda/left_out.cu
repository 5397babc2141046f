// Stands in ggml's CUDA backend for the kernels that our graphs do not reach: the backend names these functions, and
// asks about the operations before it calls any (third_party/ggml/patch_ggml.py). Part of ggml's target.
#include "ggml-cuda/acc.cuh"
#include "ggml-cuda/add-id.cuh"
#include "ggml-cuda/allreduce.cuh"
#include "ggml-cuda/arange.cuh"
#include "ggml-cuda/argmax.cuh"
#include "ggml-cuda/argsort.cuh"
#include "ggml-cuda/binbcast.cuh"
#include "ggml-cuda/col2im-1d.cuh"
#include "ggml-cuda/conv-transpose-1d.cuh"
#include "ggml-cuda/conv2d-dw.cuh"
#include "ggml-cuda/conv2d-transpose.cuh"
#include "ggml-cuda/conv2d.cuh"
#include "ggml-cuda/conv3d.cuh"
#include "ggml-cuda/count-equal.cuh"
#include "ggml-cuda/cross-entropy-loss.cuh"
#include "ggml-cuda/cumsum.cuh"
#include "ggml-cuda/diag.cuh"
#include "ggml-cuda/diagmask.cuh"
#include "ggml-cuda/dsv4-hc.cuh"
#include "ggml-cuda/fattn.cuh"
#include "ggml-cuda/fill.cuh"
#include "ggml-cuda/fwht.cuh"
#include "ggml-cuda/gated_delta_net.cuh"
#include "ggml-cuda/gla.cuh"
#include "ggml-cuda/lightning-indexer.cuh"
#include "ggml-cuda/mean.cuh"
#include "ggml-cuda/mmf.cuh"
#include "ggml-cuda/mmq.cuh"
#include "ggml-cuda/mmvf.cuh"
#include "ggml-cuda/mmvq.cuh"
#include "ggml-cuda/opt-step-adamw.cuh"
#include "ggml-cuda/opt-step-sgd.cuh"
#include "ggml-cuda/out-prod.cuh"
#include "ggml-cuda/pad_reflect_1d.cuh"
#include "ggml-cuda/pool1d.cuh"
#include "ggml-cuda/roll.cuh"
#include "ggml-cuda/set.cuh"
#include "ggml-cuda/solve_tri.cuh"
#include "ggml-cuda/ssm-conv.cuh"
#include "ggml-cuda/ssm-scan.cuh"
#include "ggml-cuda/sum.cuh"
#include "ggml-cuda/top-k.cuh"
#include "ggml-cuda/topk-moe.cuh"
#include "ggml-cuda/tri.cuh"
#include "ggml-cuda/tsembd.cuh"
#include "ggml-cuda/wkv.cuh"
#include "kernels/cuda/stock_ops.h"

bool ltx_has_stock_kernel(const ggml_tensor * node) {
    return ltx::cuda::has_stock_kernel(node->op);
}

// Never taken, so that products go to cuBLAS.
bool ggml_cuda_should_use_mmf(ggml_type, int, int, const int64_t *, const size_t *, int, bool) {
    return false;
}

bool ggml_cuda_should_use_mmq(ggml_type, int, int64_t, int64_t) {
    return false;
}

bool ggml_cuda_should_use_mmvf(ggml_type, int, const int64_t *, const size_t *, int64_t) {
    return false;
}

bool ggml_cuda_should_use_mmvq(ggml_type, int, int64_t) {
    return false;
}

int get_mmvq_mmid_max_batch(ggml_type, int) {
    return 0;
}

bool ggml_cuda_op_mul_mat_use_fwht(const ggml_tensor *) {
    return false;
}

bool ggml_cuda_op_fwht(ggml_backend_cuda_context &, const ggml_tensor *, ggml_tensor *) {
    return false;
}

bool ggml_cuda_should_use_topk_moe(const ggml_tensor *, const ggml_tensor *, const ggml_tensor *, const ggml_tensor *) {
    return false;
}

bool ggml_cuda_flash_attn_ext_supported(int, const ggml_tensor *) {
    return false;
}

bool ggml_cuda_lightning_indexer_supported(int, const ggml_tensor *) {
    return false;
}

// ggml sizes any node, also one that the backend will refuse.
size_t ggml_cuda_flash_attn_ext_get_alloc_size(int, const ggml_tensor * node) {
    return ggml_nbytes(node);
}

// Sums over several devices of one backend, which we never make.
ggml_cuda_ar_pipeline * ggml_cuda_ar_pipeline_init(const int *, size_t) {
    return nullptr;
}

void ggml_cuda_ar_pipeline_free(ggml_cuda_ar_pipeline *) {}

bool ggml_cuda_ar_allreduce(ggml_cuda_ar_pipeline *, ggml_backend_t *, ggml_tensor **) {
    return false;
}

#define LEFT_OUT(name, ...)                                             \
    void name(ggml_backend_cuda_context & __VA_OPT__(, ) __VA_ARGS__) { \
        GGML_ABORT(#name " was left out");                              \
    }
#define NODE_LEFT_OUT(name) LEFT_OUT(name, ggml_tensor *)

NODE_LEFT_OUT(ggml_cuda_argmax)
NODE_LEFT_OUT(ggml_cuda_conv_2d_transpose_p0)
NODE_LEFT_OUT(ggml_cuda_count_equal)
NODE_LEFT_OUT(ggml_cuda_cross_entropy_loss)
NODE_LEFT_OUT(ggml_cuda_cross_entropy_loss_back)
NODE_LEFT_OUT(ggml_cuda_flash_attn_ext)
NODE_LEFT_OUT(ggml_cuda_lightning_indexer)
NODE_LEFT_OUT(ggml_cuda_op_acc)
NODE_LEFT_OUT(ggml_cuda_op_add_id)
NODE_LEFT_OUT(ggml_cuda_op_arange)
NODE_LEFT_OUT(ggml_cuda_op_argsort)
NODE_LEFT_OUT(ggml_cuda_op_col2im_1d)
NODE_LEFT_OUT(ggml_cuda_op_conv2d)
NODE_LEFT_OUT(ggml_cuda_op_conv2d_dw)
NODE_LEFT_OUT(ggml_cuda_op_conv3d)
NODE_LEFT_OUT(ggml_cuda_op_conv_transpose_1d)
NODE_LEFT_OUT(ggml_cuda_op_cumsum)
NODE_LEFT_OUT(ggml_cuda_op_diag)
NODE_LEFT_OUT(ggml_cuda_op_diag_mask_inf)
NODE_LEFT_OUT(ggml_cuda_op_dsv4_hc_comb)
NODE_LEFT_OUT(ggml_cuda_op_dsv4_hc_post)
NODE_LEFT_OUT(ggml_cuda_op_dsv4_hc_pre)
NODE_LEFT_OUT(ggml_cuda_op_fill)
NODE_LEFT_OUT(ggml_cuda_op_gated_delta_net)
NODE_LEFT_OUT(ggml_cuda_op_gated_linear_attn)
NODE_LEFT_OUT(ggml_cuda_op_mean)
NODE_LEFT_OUT(ggml_cuda_op_pad_reflect_1d)
NODE_LEFT_OUT(ggml_cuda_op_pool1d)
NODE_LEFT_OUT(ggml_cuda_op_roll)
NODE_LEFT_OUT(ggml_cuda_op_rwkv_wkv6)
NODE_LEFT_OUT(ggml_cuda_op_rwkv_wkv7)
NODE_LEFT_OUT(ggml_cuda_op_set)
NODE_LEFT_OUT(ggml_cuda_op_solve_tri)
NODE_LEFT_OUT(ggml_cuda_op_ssm_scan)
NODE_LEFT_OUT(ggml_cuda_op_sum)
NODE_LEFT_OUT(ggml_cuda_op_timestep_embedding)
NODE_LEFT_OUT(ggml_cuda_op_top_k)
NODE_LEFT_OUT(ggml_cuda_op_tri)
NODE_LEFT_OUT(ggml_cuda_opt_step_adamw)
NODE_LEFT_OUT(ggml_cuda_opt_step_sgd)
NODE_LEFT_OUT(ggml_cuda_out_prod)
LEFT_OUT(ggml_cuda_mul_mat_f, const ggml_tensor *, const ggml_tensor *, const ggml_tensor *, ggml_tensor *)
LEFT_OUT(ggml_cuda_mul_mat_q, const ggml_tensor *, const ggml_tensor *, const ggml_tensor *, ggml_tensor *)
LEFT_OUT(ggml_cuda_mul_mat_vec_f, const ggml_tensor *, const ggml_tensor *, const ggml_tensor *, ggml_tensor *,
         const ggml_cuda_mm_fusion_args_host *)
LEFT_OUT(ggml_cuda_mul_mat_vec_q, const ggml_tensor *, const ggml_tensor *, const ggml_tensor *, ggml_tensor *,
         const ggml_cuda_mm_fusion_args_host *)
LEFT_OUT(ggml_cuda_op_fused_add, ggml_tensor *, int)
LEFT_OUT(ggml_cuda_op_fused_mul, ggml_tensor *, int)
LEFT_OUT(ggml_cuda_op_gated_delta_net_fused_cache, ggml_tensor *, ggml_cuda_gated_delta_net_fused_cache)
LEFT_OUT(ggml_cuda_op_ssm_conv, ggml_tensor *, ggml_tensor *, ggml_tensor *)
LEFT_OUT(ggml_cuda_op_topk_moe, const ggml_tensor *, ggml_tensor *, ggml_tensor *, const ggml_tensor *,
         const ggml_tensor *, const ggml_tensor *, const ggml_cuda_topk_moe_args &)
