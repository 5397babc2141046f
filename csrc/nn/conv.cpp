#include "nn/conv.h"

#include <algorithm>

namespace ltx {

Conv Conv::load(const Scope & scope, int64_t in, int64_t out, int64_t kernel_frames, ConvInput input) {
    const Shape shape = kernel_frames ? Shape{out, in, kernel_frames, 3, 3} : Shape{out, in, 3, 3};
    const WeightKind kind = input == ConvInput::Bounded ? WeightKind::BoundedConv : WeightKind::Conv;
    return {{.weight = scope.require("weight", shape, kind),
             .bias = scope.require("bias", {out}, WeightKind::Vector),
             .taps = 9 * std::max<int64_t>(1, kernel_frames)}};
}

}  // namespace ltx
