#include "bindings/register.h"

namespace ltx::bindings {

void register_text(pybind11::module_ &) {}

}  // namespace ltx::bindings
