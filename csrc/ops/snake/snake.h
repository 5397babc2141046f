// SnakeBeta between a doubling and a halving of the sample rate, so that its overtones do not fold back.
// Source: BigVGAN (Lee et al., 2023), Activation1d with SnakeBeta; ltx-core, the vocoder of LTX-2.3.
#pragma once

#include "kernels/custom.h"

namespace ltx {

inline constexpr int64_t kSnakeFilterTaps = 12;

// x: F32 [C, T], contiguous. alpha, beta: F32 [C], logarithms. up, down: F32 low-pass filters of kSnakeFilterTaps.
// The doubled signal is u[2n] = 2 sum_q up[2q + 1] x[n + 2 - q], u[2n + 1] = 2 sum_q up[2q] x[n + 3 - q], then
// s = u + sin(u e^alpha)^2 / (e^beta + 1e-9), and the result sum_j down[j] s[2n + j - 5]; both signals are continued by
// their first and last values. -> F32 [C, T]
// Throws ShapeError for other layouts.
ggml_tensor * antialiased_snake(Graph & graph, ggml_tensor * x, ggml_tensor * alpha, ggml_tensor * beta,
                                ggml_tensor * up, ggml_tensor * down);

// Sources: x, alpha, beta, up, down. No constants.
void antialiased_snake_cpu(ggml_tensor * node, int thread, int num_threads, void * unused);

}  // namespace ltx
