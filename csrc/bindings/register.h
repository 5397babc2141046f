// The list of registrations that make up the extension module.
#pragma once

#include <pybind11/pybind11.h>

namespace ltx::bindings {

void register_errors(pybind11::module_ & module);
void register_devices(pybind11::module_ & module);
void register_tensor_table(pybind11::module_ & module);
void register_quantize(pybind11::module_ & module);
void register_text(pybind11::module_ & module);
void register_transformer(pybind11::module_ & module);
void register_audio(pybind11::module_ & module);
void register_video(pybind11::module_ & module);
void register_diffusion_decoder(pybind11::module_ & module);
void register_duration_head(pybind11::module_ & module);
void register_preview_decoder(pybind11::module_ & module);
#if LTX2CPP_TESTING
void register_testing(pybind11::module_ & module);
void register_testing_kernels(pybind11::module_ & module);
void register_testing_slots(pybind11::module_ & module);
void register_testing_video(pybind11::module_ & module);
void register_testing_gemm(pybind11::module_ & module);
void register_testing_int8(pybind11::module_ & module);
void register_testing_weights(pybind11::module_ & module);
#endif

}  // namespace ltx::bindings
