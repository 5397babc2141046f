#include <algorithm>

#include "kernels/cuda/kernel.cuh"
#include "kernels/cuda/scratch.h"
#include "ops/conv/conv.h"

namespace ltx {

namespace {

using namespace cuda;

// A block computes kTile positions times kTile output channels, kDepth input channels of one tap at a time; each thread
// keeps kPart x kPart sums. Everything is float32 without tensor cores, because the operation promises that.
constexpr int kTile = 64;
constexpr int kDepth = 16;
constexpr int kPart = 4;
constexpr int kSide = kTile / kPart;

struct Arguments {
    const float * x;         // [in, width, height]
    const void * weight;     // [out, in, taps]
    const float * bias;      // or null
    const float * residual;  // or null
    float * out;
    int64_t width, height;         // of the input
    int64_t out_width, positions;  // of the result; of a transposed convolution: of one phase
    int in_channels, out_channels, taps;
    int kernel_width, stride, dilation, pad_left, pad_top, repeat;
    int cut;      // of a transposed convolution
    float slope;  // of a leaky ReLU; 1 for none
};

// A position of a result, as far as its taps have it in common.
struct Place {
    int64_t line, column;  // of the input
};

// The taps of a convolution: number j reads input row `source` for a position (-1: padding).
struct Plain {
    const Arguments & a;

    __device__ int taps() const { return a.taps; }
    __device__ int matrix(int j) const { return j; }
    __device__ Place place(int64_t position) const {
        return {position / a.out_width * a.stride - a.pad_top, position % a.out_width * a.stride - a.pad_left};
    }
    __device__ int64_t source(const Place & place, int j) const {
        const int64_t line = place.line + j / a.kernel_width;
        const int64_t column = place.column + static_cast<int64_t>(j % a.kernel_width) * a.dilation;
        const bool outside = line < 0 || line >= a.height * a.repeat || column < 0 || column >= a.width * a.repeat;
        if (outside) {
            return -1;
        }
        return a.repeat == 1 ? line * a.width + column : line / a.repeat * a.width + column / a.repeat;
    }
    __device__ int64_t result(int64_t position) const { return position; }
};

// Those of one phase of a transposed convolution: results position * stride + phase read the taps equal to the phase
// modulo the stride.
struct Transposed {
    const Arguments & a;

    __device__ int phase() const { return blockIdx.z; }
    __device__ int first() const { return (phase() + a.cut) % a.stride; }
    __device__ int taps() const { return (a.taps - first() + a.stride - 1) / a.stride; }
    __device__ int matrix(int j) const { return first() + j * a.stride; }
    __device__ Place place(int64_t position) const { return {0, position}; }
    __device__ int64_t source(const Place & place, int j) const {
        const int64_t column = place.column + (phase() + a.cut - matrix(j)) / a.stride;
        return column < 0 || column >= a.width ? -1 : column;
    }
    __device__ int64_t result(int64_t position) const { return position * a.stride + phase(); }
};

template <typename Taps, typename Weight>
__global__ void conv_kernel(Arguments a) {
    __shared__ float inputs[kDepth][kTile + 1];
    __shared__ float weights[kDepth][kTile];
    const Taps taps{a};
    const int64_t first_position = static_cast<int64_t>(blockIdx.x) * kTile;
    const int first_channel = static_cast<int>(blockIdx.y) * kTile;
    const int thread = threadIdx.x;
    const int row = thread / kSide * kPart;
    const int column = thread % kSide * kPart;
    const int copy_output = first_channel + thread % kTile;  // of the weights that a thread copies
    // The inputs that a thread copies are one channel of every kCopyRows-th position: where these lie takes divisions,
    // which are done here and once per tap.
    constexpr int kCopyRows = kSide * kSide / kDepth;
    constexpr int kCopies = kTile / kCopyRows;
    const int copy_channel = thread % kDepth;
    const int copy_row = thread / kDepth;
    Place places[kCopies];
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
        places[i] = taps.place(first_position + copy_row + i * kCopyRows);
    }
    float sums[kPart][kPart] = {};
    const int tap_count = taps.taps();
    for (int j = 0; j < tap_count; ++j) {
        const float * sources[kCopies];  // null: zero
#pragma unroll
        for (int i = 0; i < kCopies; ++i) {
            const bool inside = first_position + copy_row + i * kCopyRows < a.positions;
            const int64_t row = inside ? taps.source(places[i], j) : -1;
            sources[i] = row < 0 ? nullptr : a.x + row * a.in_channels;
        }
        const Weight * matrix = static_cast<const Weight *>(a.weight) +
                                static_cast<int64_t>(taps.matrix(j)) * a.in_channels * a.out_channels;
        for (int depth = 0; depth < a.in_channels; depth += kDepth) {
            const int channel = depth + copy_channel;
#pragma unroll
            for (int i = 0; i < kCopies; ++i) {
                float value = 0.0f;
                if (sources[i] && channel < a.in_channels) {
                    value = sources[i][channel];
                    value = value < 0.0f ? value * a.slope : value;
                }
                inputs[copy_channel][copy_row + i * kCopyRows] = value;
            }
#pragma unroll
            for (int i = 0; i < kDepth; i += kSide * kSide / kTile) {
                const int input = i + thread / kTile;
                weights[input][thread % kTile] =
                    depth + input < a.in_channels && copy_output < a.out_channels
                        ? to_float(matrix[static_cast<int64_t>(depth + input) * a.out_channels + copy_output])
                        : 0.0f;
            }
            __syncthreads();
#pragma unroll
            for (int d = 0; d < kDepth; ++d) {
#pragma unroll
                for (int r = 0; r < kPart; ++r) {
#pragma unroll
                    for (int c = 0; c < kPart; ++c) {
                        sums[r][c] += inputs[d][row + r] * weights[d][column + c];
                    }
                }
            }
            __syncthreads();
        }
    }
    for (int r = 0; r < kPart; ++r) {
        const int64_t position = first_position + row + r;
        if (position >= a.positions) {
            return;
        }
        const int64_t at = taps.result(position) * a.out_channels;
        for (int c = 0; c < kPart; ++c) {
            const int channel = first_channel + column + c;
            if (channel < a.out_channels) {
                const float biased = a.bias ? sums[r][c] + a.bias[channel] : sums[r][c];
                a.out[at + channel] = a.residual ? a.residual[at + channel] + biased : biased;
            }
        }
    }
}

struct Activation {
    const float * x;
    float * out;
    int64_t rows;
    int channels;
    float eps;
};

template <int kThreads, int kPack>
__global__ void activation_kernel(Activation a) {
    const int64_t row = row_of_threads<kThreads>();
    if (row >= a.rows) {
        return;
    }
    const float * x = a.x + row * a.channels;
    const float factor = inverse_rms<kThreads, kPack>(x, a.channels, a.eps);
    for (int c = threadIdx.x * kPack; c < a.channels; c += kThreads * kPack) {
        Floats<kPack> values = load<kPack>(x + c);
#pragma unroll
        for (int j = 0; j < kPack; ++j) {
            values.v[j] = silu(values.v[j] * factor);
        }
        store<kPack>(a.out + row * a.channels + c, values);
    }
}

bool is_plain(const ggml_tensor * tensor, ggml_type type) {
    return tensor && tensor->type == type && ggml_is_contiguous(tensor);
}

bool supports(const ggml_tensor * node) {
    for (int i = 2; i < 4; ++i) {
        if (node->src[i] && !is_plain(node->src[i], GGML_TYPE_F32)) {
            return false;
        }
    }
    return is_plain(node->src[0], GGML_TYPE_F32) && node->src[1] && is_float_type(node->src[1]->type) &&
           ggml_is_contiguous(node->src[1]) && is_plain(node, GGML_TYPE_F32);
}

// The input normalised and activated, where its rows are not taken as they are.
size_t activated_copy_bytes(const ggml_tensor * x, ConvActivation activation) {
    return activation == ConvActivation::PixelNormSilu ? ggml_nbytes(x) : 0;
}

size_t conv_scratch_bytes(const ggml_tensor * node) {
    return activated_copy_bytes(node->src[0], constants_of<ConvConstants>(node).activation);
}

size_t conv_transpose_scratch_bytes(const ggml_tensor * node) {
    return activated_copy_bytes(node->src[0], constants_of<ConvTransposeConstants>(node).activation);
}

// The launch of either operation; `phases` results per position.
template <typename Taps>
void enqueue_taps(const char * op, const CudaCall & call, const ggml_tensor * node, Arguments arguments,
                  ConvActivation activation, float value, int phases) {
    const ggml_tensor * x = node->src[0];
    const size_t activated_bytes = activated_copy_bytes(x, activation);
    const Scratch activated(call, activated_bytes);
    if (activated_bytes > 0) {
        const Activation first{arguments.x, activated.as<float>(), ggml_nrows(x), arguments.in_channels, value};
        with_row_shape(x->ne[0], packs({x}), [&]<int kThreads, int kPack>() {
            launch_rows<kThreads>(op, call, &activation_kernel<kThreads, kPack>, first.rows, first);
        });
        arguments.x = first.out;
    }
    arguments.slope = activation == ConvActivation::LeakyRelu ? value : 1.0f;
    const dim3 grid(static_cast<unsigned>(ceil_div(arguments.positions, kTile)),
                    static_cast<unsigned>(ceil_div(arguments.out_channels, kTile)), static_cast<unsigned>(phases));
    with_type(node->src[1]->type, [&]<typename Weight>() {
        launch(op, call, &conv_kernel<Taps, Weight>, grid, dim3(kSide * kSide), arguments);
    });
}

Arguments arguments_of(const ggml_tensor * node) {
    const ggml_tensor * x = node->src[0];
    const ggml_tensor * weight = node->src[1];
    return {.x = data_of<const float>(x),
            .weight = weight->data,
            .bias = nullptr,
            .residual = nullptr,
            .out = static_cast<float *>(node->data),
            .width = x->ne[1],
            .height = x->ne[2],
            .out_width = node->ne[1],
            .positions = node->ne[1] * node->ne[2],
            .in_channels = static_cast<int>(weight->ne[1]),
            .out_channels = static_cast<int>(weight->ne[0]),
            .taps = static_cast<int>(weight->ne[2]),
            .kernel_width = 1,
            .stride = 1,
            .dilation = 1,
            .pad_left = 0,
            .pad_top = 0,
            .repeat = 1,
            .cut = 0,
            .slope = 1.0f};
}

void enqueue_conv(const CudaCall & call, ggml_tensor * node) {
    const auto c = constants_of<ConvConstants>(node);
    Arguments arguments = arguments_of(node);
    arguments.bias = c.has_bias ? data_of<const float>(node->src[2]) : nullptr;
    arguments.residual = c.has_residual ? data_of<const float>(node->src[c.has_bias ? 3 : 2]) : nullptr;
    arguments.kernel_width = c.kernel_width;
    arguments.stride = c.stride;
    arguments.dilation = c.dilation;
    arguments.pad_left = c.pad_left;
    arguments.pad_top = c.pad_top;
    arguments.repeat = c.repeat;
    enqueue_taps<Plain>("conv", call, node, arguments, c.activation, c.value, 1);
}

void enqueue_conv_transpose(const CudaCall & call, ggml_tensor * node) {
    const auto c = constants_of<ConvTransposeConstants>(node);
    Arguments arguments = arguments_of(node);
    arguments.bias = c.has_bias ? data_of<const float>(node->src[2]) : nullptr;
    arguments.stride = c.stride;
    arguments.cut = (arguments.taps - c.stride) / 2;
    arguments.positions = arguments.width;
    enqueue_taps<Transposed>("conv_transpose", call, node, arguments, c.activation, c.value, c.stride);
}

}  // namespace

extern const CudaOp kConvCuda{&conv_cpu, &supports, &enqueue_conv, /*needs_tensor_cores=*/false, &conv_scratch_bytes};
extern const CudaOp kConvTransposeCuda{&conv_transpose_cpu, &supports, &enqueue_conv_transpose,
                                       /*needs_tensor_cores=*/false, &conv_transpose_scratch_bytes};

}  // namespace ltx
