// In the place of warpgroups.cu in builds without code for sm_90a.
#include "ops/attention/warpgroups.h"

namespace ltx::cuda {

bool attend_by_warpgroups(const CudaCall &, const AttentionArguments &) {
    return false;
}

}  // namespace ltx::cuda
