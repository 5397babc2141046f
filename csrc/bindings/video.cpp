#include "bindings/register.h"

namespace ltx::bindings {

void register_video(pybind11::module_ &) {}

}  // namespace ltx::bindings
