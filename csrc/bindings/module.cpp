#include "bindings/register.h"

PYBIND11_MODULE(_core, module) {
    using namespace ltx::bindings;
    module.doc() = "C++ core of ltx2cpp: devices, weights and networks. Private; use the package's Python classes.";
    register_errors(module);
    register_devices(module);
    register_tensor_table(module);
    register_quantize(module);
    register_text(module);
    register_transformer(module);
    register_audio(module);
    register_video(module);
    register_diffusion_decoder(module);
    register_duration_head(module);
    register_preview_decoder(module);
#if LTX2CPP_TESTING
    register_testing(module);
    register_testing_kernels(module);
    register_testing_slots(module);
    register_testing_video(module);
    register_testing_gemm(module);
    register_testing_int8(module);
    register_testing_weights(module);
#endif
}
