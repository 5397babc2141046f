// What networks say about memory, and how they are told to save it.
#pragma once

#include "bindings/arrays.h"
#include "networks/network_memory.h"

namespace ltx::bindings {

inline pybind11::dict memory_dict(const NetworkMemory & memory) {
    pybind11::dict result;
    result["own_weight_bytes"] = memory.own_weight_bytes;
    result["mapped_weight_bytes"] = memory.mapped_weight_bytes;
    result["mapped_part_bytes"] = memory.mapped_part_bytes;
    result["slot_bytes"] = memory.slot_bytes;
    result["activation_bytes"] = memory.activation_bytes;
    result["scratch_bytes"] = memory.scratch_bytes;
    result["output_bytes"] = memory.output_bytes;
    result["state_bytes"] = memory.state_bytes;
    return result;
}

// Reads what a run may be changing, so it waits for the run, without the interpreter's lock, which the run may need.
template <typename Net, typename... Options>
void def_activation_bytes(pybind11::class_<Net, Options...> & network) {
    network.def_property_readonly("activation_bytes",
                                  pybind11::cpp_function(pybind11::method_adaptor<Net>(&Net::activation_bytes),
                                                         pybind11::call_guard<pybind11::gil_scoped_release>()),
                                  "Working memory of the last run.");
}

// Adds stream_weights(drop_cached) to a network that can let weights go behind the reader.
template <typename Net, typename... Options>
void def_stream_weights(pybind11::class_<Net, Options...> & network) {
    network.def(
        "stream_weights",
        [](Net & self, bool drop_cached) { self.stream_weights(drop_cached ? PageCache::Drop : PageCache::Keep); },
        pybind11::arg("drop_cached") = false, pybind11::call_guard<pybind11::gil_scoped_release>(),
        "From the next run on, takes mapped weights out of memory behind the reader, part by part; drop_cached also\n"
        "takes them out of the system's cache. Results stay the same.");
}

}  // namespace ltx::bindings
