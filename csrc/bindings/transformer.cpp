#include "bindings/register.h"

namespace ltx::bindings {

void register_transformer(pybind11::module_ &) {}

}  // namespace ltx::bindings
