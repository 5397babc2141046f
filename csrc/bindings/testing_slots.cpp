// A hook that shows the test suite what a device holds of weights that pass through slots.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bindings/kernels_under_test.h"
#include "bindings/register.h"
#include "graph/context.h"
#include "runtime/slot_residency.h"

#if LTX2CPP_EMULATED_CUDA
#include "device_memory.h"
#endif

namespace py = pybind11;

namespace ltx::bindings {

namespace {

constexpr size_t kSlots = 2;

std::shared_ptr<Backend> open_under_test() {
    DeviceTraits traits;
#if LTX2CPP_EMULATED_CUDA
    if (kernels_under_test().emulated_cuda) {
        traits.buffer_type = emulated::device_memory();
    }
#endif
    return Backend::open(kernels_under_test().device, 1, {}, traits);
}

// All bytes of a placed tensor and those that follow it up to the end of its room.
std::string contents_of(const Backend & backend, ggml_tensor * tensor) {
    std::string bytes(ggml_backend_buft_get_alloc_size(backend.buffer_type(), tensor), '\0');
    const Context ctx(ggml_tensor_overhead());
    ggml_tensor * all = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I8, static_cast<int64_t>(bytes.size()));
    all->buffer = tensor->buffer;
    all->data = tensor->data;
    ggml_backend_tensor_get(all, bytes.data(), 0, bytes.size());
    return bytes;
}

std::vector<std::string> slot_contents(const std::vector<int64_t> & rows, int64_t width, int rounds) {
    const std::shared_ptr<Backend> backend = open_under_test();
    const Context ctx(rows.size() * ggml_tensor_overhead());
    std::vector<ggml_tensor *> weights;
    SegmentWeights parts;
    for (const int64_t count : rows) {
        weights.push_back(ggml_new_tensor_2d(ctx.get(), GGML_TYPE_Q8_0, width, count));
        parts.push_back({weights.back()});
    }
    const ggml_backend_buffer_ptr host(
        ggml_backend_alloc_ctx_tensors_from_buft(ctx.get(), backend->host_buffer_type()));
    for (size_t i = 0; i < weights.size(); ++i) {
        std::memset(weights[i]->data, static_cast<int>(i + 1), ggml_nbytes(weights[i]));
    }
    SlotResidency slots(backend, kSlots);
    slots.use(parts);
    std::vector<std::string> contents;
    for (int round = 0; round < rounds; ++round) {
        for (size_t i = 0; i < weights.size(); ++i) {
            slots.before(i);
            contents.push_back(contents_of(*backend, weights[i]));
            slots.after(i);
        }
    }
    return contents;
}

}  // namespace

void register_testing_slots(py::module_ & module) {
    auto testing = module.attr("_testing").cast<py::module_>();
    testing.def(
        "slot_contents",
        [](const std::vector<int64_t> & rows, int64_t width, int rounds) {
            std::vector<py::bytes> result;
            for (const std::string & bytes : slot_contents(rows, width, rounds)) {
                result.emplace_back(bytes);
            }
            return result;
        },
        py::arg("rows"), py::arg("width"), py::arg("rounds"),
        "Parts that read a Q8_0 weight each, of as many rows of `width` elements and all bytes its number from one, "
        "run\n"
        "over two slots; returns what the device holds at the turn of each: the weight and what lies behind it.");
}

}  // namespace ltx::bindings
