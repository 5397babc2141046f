#include "kernels/cuda/kernel.cuh"
#include "ops/snake/snake.h"

namespace ltx {

namespace {

using namespace cuda;

constexpr int kHalfTaps = static_cast<int>(kSnakeFilterTaps) / 2;
// Doubled samples that a result reads lie in the even and odd rows n - 3 .. n + 3.
constexpr int kReach = 3;
// A block computes kRows rows of kWarp channels; its threads lie as (channel, row).
constexpr int kRows = 64;
constexpr int kRowThreads = 8;

struct Arguments {
    const float * x;
    const float * alpha;
    const float * beta;
    const float * up;
    const float * down;
    float * out;
    int64_t length;
    int channels;
};

__global__ void antialiased_snake_kernel(Arguments a) {
    // Row i of the doubled signal is begin - kReach + i.
    __shared__ float even[kRows + 2 * kReach][kWarp];
    __shared__ float odd[kRows + 2 * kReach][kWarp];
    const int lane = threadIdx.x;
    const int channel = static_cast<int>(blockIdx.y) * kWarp + lane;
    const int64_t begin = static_cast<int64_t>(blockIdx.x) * kRows;
    if (channel < a.channels) {
        const float frequency = expf(a.alpha[channel]);
        const float gain = 1.0f / (expf(a.beta[channel]) + 1e-9f);
        // The doubled signal at input row `row`, its even or odd half: inputs row - 3 + odd onwards, clamped.
        const auto doubled = [&](int64_t row, int is_odd) {
            float u = 0.0f;
#pragma unroll
            for (int q = 0; q < kHalfTaps; ++q) {
                int64_t at = row - kReach + is_odd + q;
                at = at < 0 ? 0 : (at >= a.length ? a.length - 1 : at);
                u += 2.0f * a.up[kSnakeFilterTaps - 1 - is_odd - 2 * q] * a.x[at * a.channels + channel];
            }
            const float wave = sinf(u * frequency);
            return u + wave * wave * gain;
        };
        for (int i = threadIdx.y; i < kRows + 2 * kReach; i += kRowThreads) {
            const int64_t row = begin - kReach + i;
            // Before its first value the doubled signal holds that value (an even one), past its last one that.
            if (row < 0) {
                even[i][lane] = odd[i][lane] = doubled(0, 0);
            } else if (row >= a.length) {
                even[i][lane] = odd[i][lane] = doubled(a.length - 1, 1);
            } else {
                even[i][lane] = doubled(row, 0);
                odd[i][lane] = doubled(row, 1);
            }
        }
    }
    __syncthreads();
    if (channel >= a.channels) {
        return;
    }
    for (int i = threadIdx.y; i < kRows && begin + i < a.length; i += kRowThreads) {
        float sum = 0.0f;
#pragma unroll
        for (int q = 0; q < kHalfTaps; ++q) {
            sum += a.down[2 * q] * odd[i + q][lane];
            sum += a.down[2 * q + 1] * even[i + 1 + q][lane];
        }
        a.out[(begin + i) * a.channels + channel] = sum;
    }
}

bool supports(const ggml_tensor * node) {
    for (int i = 0; i < 5; ++i) {
        if (!node->src[i] || node->src[i]->type != GGML_TYPE_F32 || !ggml_is_contiguous(node->src[i])) {
            return false;
        }
    }
    return node->type == GGML_TYPE_F32 && ggml_is_contiguous(node);
}

void enqueue(const CudaCall & call, ggml_tensor * node) {
    const Arguments arguments{data_of<const float>(node->src[0]),
                              data_of<const float>(node->src[1]),
                              data_of<const float>(node->src[2]),
                              data_of<const float>(node->src[3]),
                              data_of<const float>(node->src[4]),
                              data_of<float>(node),
                              node->ne[1],
                              static_cast<int>(node->ne[0])};
    const dim3 grid(static_cast<unsigned>(ceil_div(node->ne[1], kRows)),
                    static_cast<unsigned>(ceil_div(node->ne[0], kWarp)));
    launch("antialiased_snake", call, &antialiased_snake_kernel, grid, dim3(kWarp, kRowThreads), arguments);
}

}  // namespace

extern const CudaOp kAntialiasedSnakeCuda{&antialiased_snake_cpu, &supports, &enqueue};

}  // namespace ltx
