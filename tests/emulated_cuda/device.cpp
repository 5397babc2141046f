// The device of emulated launches.
#include "kernels/cuda/device.h"

#include "emulation.h"

namespace ltx::cuda {

int code_version(int) {
    return emulated::code_version();
}

size_t shared_bytes_of_processor() {
    return (emulated::code_version() == 86 ? size_t{100} : size_t{228}) << 10;
}

bool has_code_of(const void * kernel) {
    return emulated::take_for_90(kernel);
}

}  // namespace ltx::cuda
