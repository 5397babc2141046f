#include "nn/conv.h"

namespace ltx {

Conv Conv::load(const Scope & scope, int64_t in, int64_t out, int64_t kernel_frames) {
    const Shape shape = kernel_frames ? Shape{out, in, kernel_frames, 3, 3} : Shape{out, in, 3, 3};
    return {scope.require("weight", shape, WeightKind::Conv), scope.require("bias", {out}, WeightKind::Vector)};
}

}  // namespace ltx
