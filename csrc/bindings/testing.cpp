// Hooks that let the test suite run single operations. Only built with LTX2CPP_TESTING.
#include "bindings/arrays.h"
#include "bindings/register.h"

namespace py = pybind11;

namespace ltx::bindings {

void register_testing(py::module_ & module) {
    module.def_submodule("_testing", "Single operations, for the test suite.");
}

}  // namespace ltx::bindings
