#include "ops/conv3d/conv3d.h"

#include "graph/product.h"
#include "kernels/gemm/gemm.h"

namespace ltx {

namespace {

// One matrix per tap, [in, out, taps].
ggml_tensor * matrices_of(Graph & graph, const ConvKernel & kernel) {
    if (!kernel.is_direct()) {
        return kernel.weight;
    }
    ggml_context * ctx = graph.ctx();
    ggml_tensor * stored =
        ggml_reshape_3d(ctx, kernel.weight, kernel.taps, kernel.in_channels(), kernel.out_channels());
    return ggml_cont(ctx, ggml_permute(ctx, stored, 2, 0, 1, 3));
}

}  // namespace

int64_t ConvKernel::buffer_channels() const {
    if (!is_direct()) {
        return in_channels();
    }
    // The values of 32 neighbouring positions are read a cache line each: at a multiple of 1024 bytes from each other
    // they fight for a few sets of the first-level cache.
    constexpr int64_t kAliasing = 512;
    const int64_t channels = round_up(in_channels(), kGemmDepth);
    return channels % kAliasing == 0 ? channels + kGemmDepth : channels;
}

ggml_tensor * conv3d(Graph & graph, const ConvKernel & kernel, ggml_tensor * padded, const FramePieces & residual) {
    ggml_context * ctx = graph.ctx();
    const int64_t out = kernel.out_channels();
    const int64_t taps = kernel.taps;
    const int64_t row_pitch = padded->ne[1];
    const int64_t frame_pitch = padded->ne[1] * padded->ne[2];
    const int64_t width = padded->ne[1] - 2;
    const int64_t height = padded->ne[2] - 2;
    const int64_t frames = padded->ne[3] - taps / 9 + 1;
    if (kernel.is_direct() && graph.fuses("conv3d_direct")) {
        return custom_node_with(graph, GGML_TYPE_F32, {out, width, height, frames},
                                {kernel.weight, kernel.bias, padded, residual.earlier, residual.frames},
                                &conv3d_direct_cpu,
                                DirectConvConstants{static_cast<int32_t>(taps), piece_set(residual)});
    }
    if (graph.own_products() && graph.fuses("conv3d_tapped") && kernel.weight->type == GGML_TYPE_BF16 &&
        kernel.in_channels() % kTappedChannels == 0) {
        return custom_node_with(graph, GGML_TYPE_F32, {out, width, height, frames},
                                {kernel.weight, kernel.bias, padded, residual.earlier, residual.frames},
                                &conv3d_tapped_cpu, TappedConvConstants{piece_set(residual)});
    }
    // From the first result to the last one, the padding between them included.
    const int64_t rows = (frames - 1) * frame_pitch + (height - 1) * row_pitch + width;
    ggml_tensor * matrices = matrices_of(graph, kernel);
    ggml_tensor * sums = nullptr;  // ne: [out, rows]
    for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t shift = tap / 9 * frame_pitch + tap / 3 % 3 * row_pitch + tap % 3;
        ggml_tensor * window = ggml_view_2d(ctx, padded, matrices->ne[0], rows, padded->nb[1], shift * padded->nb[1]);
        ggml_tensor * matrix =
            ggml_view_2d(ctx, matrices, matrices->ne[0], out, matrices->nb[1], tap * matrices->nb[2]);
        ggml_tensor * sum = product(graph, matrix, window);
        sums = sums ? ggml_add(ctx, sums, sum) : sum;
    }
    if (graph.fuses("conv3d_finish")) {
        return custom_node_with(graph, GGML_TYPE_F32, {out, width, height, frames},
                                {sums, kernel.bias, residual.earlier, residual.frames}, &conv3d_finish_cpu,
                                ConvFinishConstants{static_cast<int32_t>(row_pitch),
                                                    static_cast<int32_t>(padded->ne[2]), piece_set(residual)});
    }
    ggml_tensor * inner = ggml_view_4d(ctx, sums, out, width, height, frames, sums->nb[1], row_pitch * sums->nb[1],
                                       frame_pitch * sums->nb[1], 0);
    ggml_tensor * result = ggml_add(ctx, ggml_cont(ctx, inner), kernel.bias);
    ggml_tensor * added = join_frames(graph, residual);
    return added ? ggml_add(ctx, result, added) : result;  // ne: [out, W, H, T]
}

}  // namespace ltx
