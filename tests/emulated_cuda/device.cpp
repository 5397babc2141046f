// The device of emulated launches.
#include "kernels/cuda/device.h"

#include "emulation.h"

namespace ltx::cuda {

int code_version(int) {
    return emulated::code_version();
}

}  // namespace ltx::cuda
