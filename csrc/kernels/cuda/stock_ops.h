// ggml's own operations for which a CUDA build has kernels, unless it was made with all of them.
#pragma once

#include <algorithm>
#include <array>

#include "ggml.h"

namespace ltx::cuda {

// What the graphs of our networks are made of, and views, which need none. Others answer "not supported" (left_out.cu):
// their kernels would be 35 of the 42 core-minutes that ggml's backend takes to build. Attention is among the others,
// and so are products by anything but cuBLAS.
inline constexpr std::array kStockOps = {
    GGML_OP_NONE,       GGML_OP_RESHAPE,  GGML_OP_VIEW,     GGML_OP_PERMUTE,    GGML_OP_TRANSPOSE,  //
    GGML_OP_DUP,        GGML_OP_CPY,      GGML_OP_CONT,     GGML_OP_CONCAT,     GGML_OP_GET_ROWS,   //
    GGML_OP_ADD,        GGML_OP_SUB,      GGML_OP_MUL,      GGML_OP_DIV,        GGML_OP_REPEAT,     //
    GGML_OP_SCALE,      GGML_OP_SQR,      GGML_OP_SQRT,     GGML_OP_LOG,        GGML_OP_SIN,        //
    GGML_OP_CLAMP,      GGML_OP_UNARY,    GGML_OP_GLU,      GGML_OP_LEAKY_RELU, GGML_OP_MUL_MAT,    //
    GGML_OP_NORM,       GGML_OP_RMS_NORM, GGML_OP_SUM_ROWS,                                         //
    GGML_OP_GROUP_NORM, GGML_OP_SOFT_MAX, GGML_OP_ROPE,     GGML_OP_PAD,        GGML_OP_POOL_2D,    //
    GGML_OP_UPSCALE,    GGML_OP_IM2COL,   GGML_OP_SET_ROWS,
};

constexpr bool has_stock_kernel(ggml_op op) {
    return std::find(kStockOps.begin(), kStockOps.end(), op) != kStockOps.end();
}

}  // namespace ltx::cuda
