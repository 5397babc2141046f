#include "kernels/cuda/kernel.cuh"
#include "ops/group_norm/group_norm.h"

namespace ltx {

namespace {

using namespace cuda;

constexpr int kStatisticsThreads = 1024;

struct Statistics {
    const float * x;
    float * out;  // mean and 1 / standard deviation per group
    int64_t positions;
    int64_t width;  // channels of all groups
    int channels;   // of one group
    float eps;
};

// A block owns a group: its sums are short in float32 and are added up in double.
__device__ double block_sum(float value) {
    __shared__ double of_warp[kStatisticsThreads / kWarp];
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, offset);
    }
    if (threadIdx.x % kWarp == 0) {
        of_warp[threadIdx.x / kWarp] = static_cast<double>(value);
    }
    __syncthreads();
    double sum = 0.0;
    for (int i = 0; i < kStatisticsThreads / kWarp; ++i) {
        sum += of_warp[i];
    }
    __syncthreads();
    return sum;
}

__global__ void group_statistics_kernel(Statistics a) {
    const float * x = a.x + static_cast<int64_t>(blockIdx.x) * a.channels;
    const int64_t values = a.positions * a.channels;
    const auto mean_power = [&](float centre, bool squared) {
        float sum = 0.0f;
        for (int64_t i = threadIdx.x; i < values; i += kStatisticsThreads) {
            const float d = x[i / a.channels * a.width + i % a.channels] - centre;
            sum += squared ? d * d : d;
        }
        return block_sum(sum) / static_cast<double>(values);
    };
    const auto mean = static_cast<float>(mean_power(0.0f, false));
    const double variance = mean_power(mean, true);
    if (threadIdx.x == 0) {
        a.out[2 * blockIdx.x] = mean;
        a.out[2 * blockIdx.x + 1] = static_cast<float>(1.0 / sqrt(variance + static_cast<double>(a.eps)));
    }
}

struct Apply {
    const float * x;
    const float * statistics;
    const float * weight;
    const float * bias;
    const float * residual;  // or null
    float * out;
    int64_t values;
    int width;
    int channels;
};

__global__ void group_norm_silu_kernel(Apply a) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= a.values) {
        return;
    }
    const int c = static_cast<int>(i % a.width);
    const float * of_group = a.statistics + 2 * (c / a.channels);
    const float y = (a.x[i] - of_group[0]) * of_group[1] * a.weight[c] + a.bias[c];
    a.out[i] = silu(a.residual ? y + a.residual[i] : y);
}

bool is_plain(const ggml_tensor * tensor) {
    return tensor && tensor->type == GGML_TYPE_F32 && ggml_is_contiguous(tensor);
}

bool supports_statistics(const ggml_tensor * node) {
    return is_plain(node->src[0]) && is_plain(node);
}

void enqueue_statistics(const CudaCall & call, ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const Statistics arguments{data_of<const float>(x),
                               data_of<float>(node),
                               ggml_nrows(x),
                               x->ne[0],
                               static_cast<int>(x->ne[0] / node->ne[1]),
                               constants_of<GroupNormConstants>(node).eps};
    launch("group_statistics", call, &group_statistics_kernel, dim3(static_cast<unsigned>(node->ne[1])),
           dim3(kStatisticsThreads), arguments);
}

bool supports_norm(const ggml_tensor * node) {
    return is_plain(node->src[0]) && is_plain(node->src[1]) && is_plain(node->src[2]) && is_plain(node->src[3]) &&
           (!node->src[4] || is_plain(node->src[4])) && is_plain(node);
}

void enqueue_norm(const CudaCall & call, ggml_tensor * node) {
    const int64_t width = node->ne[0];
    const Apply arguments{data_of<const float>(node->src[0]),
                          data_of<const float>(node->src[1]),
                          data_of<const float>(node->src[2]),
                          data_of<const float>(node->src[3]),
                          node->src[4] ? data_of<const float>(node->src[4]) : nullptr,
                          data_of<float>(node),
                          ggml_nelements(node),
                          static_cast<int>(width),
                          static_cast<int>(width / node->src[1]->ne[1])};
    launch("group_norm_silu", call, &group_norm_silu_kernel,
           dim3(static_cast<unsigned>(ceil_div(arguments.values, kBlockThreads))), dim3(kBlockThreads), arguments);
}

}  // namespace

extern const CudaOp kGroupStatisticsCuda{&group_statistics_cpu, &supports_statistics, &enqueue_statistics};
extern const CudaOp kGroupNormSiluCuda{&group_norm_silu_cpu, &supports_norm, &enqueue_norm};

}  // namespace ltx
