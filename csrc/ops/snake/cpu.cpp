#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/simd_math.h"
#include "ops/snake/snake.h"

namespace ltx {

namespace {

constexpr int64_t kHalfTaps = kSnakeFilterTaps / 2;
// Doubled samples that a result reads lie in the even and odd rows n - 3 .. n + 3; those read inputs 3 to either side.
constexpr int64_t kReach = 3;
// Channels and values of one block, so that its inputs and both halves of the doubled signal stay in the caches.
constexpr int64_t kMaxChannels = 128;
constexpr int64_t kBlockValues = 8192;
// Values per call of the vectorised loops: narrow signals take several rows at once.
constexpr int64_t kSpanValues = 256;

// s = u + sin(u a)^2 b with u = sum_q taps[q] x[i + q pitch]; a and b repeat with the channels.
LTX_TARGET_CLONES
void snake_span(const float * __restrict x, int64_t pitch, const float * __restrict taps, const float * __restrict a,
                const float * __restrict b, float * __restrict out, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        float u = taps[0] * x[i];
        u += taps[1] * x[i + pitch];
        u += taps[2] * x[i + 2 * pitch];
        u += taps[3] * x[i + 3 * pitch];
        u += taps[4] * x[i + 4 * pitch];
        u += taps[5] * x[i + 5 * pitch];
        out[i] = u + vector_sin_squared(u * a[i]) * b[i];
    }
}

// The sum of six even and six odd rows.
LTX_TARGET_CLONES
void lowpass_span(const float * __restrict even, const float * __restrict odd, int64_t pitch,
                  const float * __restrict even_taps, const float * __restrict odd_taps, float * __restrict out,
                  int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        float sum = odd_taps[0] * odd[i];
        for (int64_t q = 0; q < kHalfTaps - 1; ++q) {
            sum += even_taps[q] * even[i + q * pitch];
            sum += odd_taps[q + 1] * odd[i + (q + 1) * pitch];
        }
        out[i] = sum + even_taps[kHalfTaps - 1] * even[i + (kHalfTaps - 1) * pitch];
    }
}

struct Taps {
    float up_even[kHalfTaps];
    float up_odd[kHalfTaps];
    float down_even[kHalfTaps];
    float down_odd[kHalfTaps];
};

// Taps in the order of the rows they meet, the gain of the doubling included.
Taps read_taps(const float * up, const float * down) {
    Taps taps;
    for (int64_t q = 0; q < kHalfTaps; ++q) {
        taps.up_even[q] = 2.0f * up[kSnakeFilterTaps - 1 - 2 * q];
        taps.up_odd[q] = 2.0f * up[kSnakeFilterTaps - 2 - 2 * q];
        taps.down_even[q] = down[2 * q + 1];
        taps.down_odd[q] = down[2 * q];
    }
    return taps;
}

// Some channels of a signal, and the working memory for a run of its rows.
class SnakeBlock {
public:
    SnakeBlock(const ggml_tensor * node, int64_t first_channel, int64_t channels, int64_t max_rows)
        : x_(static_cast<const float *>(node->src[0]->data)),
          out_(static_cast<float *>(node->data)),
          pitch_(node->ne[0]),
          length_(node->ne[1]),
          first_(first_channel),
          channels_(channels),
          span_rows_(std::max<int64_t>(kSpanValues / channels, 1)),
          taps_(read_taps(row_of(node->src[3], 0), row_of(node->src[4], 0))) {
        const float * alpha = row_of(node->src[1], 0) + first_;
        const float * beta = row_of(node->src[2], 0) + first_;
        a_.resize(static_cast<size_t>(span_rows_ * channels_));
        b_.resize(a_.size());
        for (size_t i = 0; i < a_.size(); ++i) {
            const auto channel = static_cast<int64_t>(i) % channels_;
            a_[i] = std::exp(alpha[channel]);
            b_[i] = 1.0f / (std::exp(beta[channel]) + 1e-9f);
        }
        inputs_.resize(static_cast<size_t>((max_rows + 4 * kReach) * channels_));
        even_.resize(static_cast<size_t>((max_rows + 2 * kReach) * channels_));
        odd_.resize(even_.size());
    }

    // Computes rows [begin, end) of the result.
    void run(int64_t begin, int64_t end) {
        const int64_t rows = end - begin;
        const int64_t doubled = rows + 2 * kReach;  // row i is begin - kReach + i
        for (int64_t i = 0; i < rows + 4 * kReach; ++i) {
            const int64_t row = std::clamp<int64_t>(begin - 2 * kReach + i, 0, length_ - 1);
            std::copy_n(x_ + row * pitch_ + first_, channels_, inputs_.data() + i * channels_);
        }
        for_spans(doubled, [&](int64_t at, int64_t count) {
            snake_span(inputs_.data() + at, channels_, taps_.up_even, a_.data(), b_.data(), even_.data() + at, count);
            snake_span(inputs_.data() + at + channels_, channels_, taps_.up_odd, a_.data(), b_.data(), odd_.data() + at,
                       count);
        });
        continue_edges(begin - kReach, doubled);
        // Rows of all channels lie next to each other and need no call each.
        const int64_t at_once = channels_ == pitch_ ? rows : 1;
        for (int64_t row = 0; row < rows; row += at_once) {
            lowpass_span(even_.data() + (row + 1) * channels_, odd_.data() + row * channels_, channels_,
                         taps_.down_even, taps_.down_odd, out_ + (begin + row) * pitch_ + first_, at_once * channels_);
        }
    }

private:
    template <typename Work>
    void for_spans(int64_t rows, Work && work) const {
        for (int64_t row = 0; row < rows; row += span_rows_) {
            work(row * channels_, std::min(span_rows_, rows - row) * channels_);
        }
    }

    // Before its first value the doubled signal holds that value (an even row), past its last one that (an odd row).
    void continue_edges(int64_t first_row, int64_t rows) {
        for (int64_t i = 0; i < rows; ++i) {
            const int64_t row = first_row + i;
            if (row >= 0 && row < length_) {
                continue;
            }
            const int64_t edge = row < 0 ? 0 : length_ - 1;
            const auto & source = row < 0 ? even_ : odd_;
            const float * value = source.data() + (edge - first_row) * channels_;
            std::copy_n(value, channels_, even_.data() + i * channels_);
            std::copy_n(value, channels_, odd_.data() + i * channels_);
        }
    }

    const float * x_;
    float * out_;
    int64_t pitch_, length_, first_, channels_, span_rows_;
    Taps taps_;
    std::vector<float> a_, b_, inputs_, even_, odd_;
};

}  // namespace

void antialiased_snake_cpu(ggml_tensor * node, int thread, int num_threads, void * /*unused*/) {
    const int64_t channels = node->ne[0];
    const auto [begin, end] = rows_of_thread(node->ne[1], thread, num_threads);
    const int64_t most = std::min(channels, kMaxChannels);
    const int64_t max_rows = std::max<int64_t>(kBlockValues / most, 1);
    for (int64_t first = 0; first < channels; first += most) {
        SnakeBlock block(node, first, std::min(most, channels - first), max_rows);
        for (int64_t row = begin; row < end; row += max_rows) {
            block.run(row, std::min(end, row + max_rows));
        }
    }
}

}  // namespace ltx
