// The module that Python imports where the core was built once per level of x86-64 processors (third_party/ggml): it
// hands on the best of them that this processor runs. They lie beside it, `_core_LEVEL` with the same ending.
//
// A processor below the lowest is refused here, which Python asks for before numpy: numpy's own wheels are compiled for
// x86-64-v2 as well, and would end the process.

#include <Python.h>
#include <dlfcn.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/cpuid.h"

namespace {

using Init = PyObject * (*)();

// The levels that this processor runs, the best first.
std::vector<std::string> levels_of_processor() {
    const ltx::X86Features & has = ltx::x86_features();
    const bool v3 = has.avx2 && has.fma && has.bmi2 && has.f16c;
    const bool v4 = v3 && has.avx512f && has.avx512cd && has.avx512vl && has.avx512dq && has.avx512bw;
    const bool v4_vnni = v4 && has.avx512_vnni;
    const std::pair<const char *, bool> levels[] = {
        {"x86-64-v4-bf16", v4_vnni && has.avx512_bf16}, {"x86-64-v4-vnni", v4_vnni}, {"x86-64-v4", v4},
        {"x86-64-v3-vnni", v3 && has.avx_vnni},         {"x86-64-v3", v3},           {"x86-64-v2", true},
    };
    std::vector<std::string> names;
    for (const auto & [name, supported] : levels) {
        if (supported) {
            names.emplace_back(name);
        }
    }
    return names;
}

// What the lowest level needs and this processor lacks, by name; empty: nothing.
std::string lacking_instructions() {
    const ltx::X86Features & has = ltx::x86_features();
    const std::pair<const char *, bool> needed[] = {
        {"SSSE3", has.ssse3},
        {"SSE4.1", has.sse4_1},
        {"SSE4.2", has.sse4_2},
        {"POPCNT", has.popcnt},
    };
    std::string names;
    for (const auto & [name, present] : needed) {
        if (!present) {
            names += (names.empty() ? "" : ", ") + std::string(name);
        }
    }
    return names;
}

// Where this module was loaded from.
std::string own_path() {
    Dl_info info{};
    return ::dladdr(reinterpret_cast<void *>(&levels_of_processor), &info) ? info.dli_fname : "";
}

// The part of the best level that is installed; empty: none is for this processor.
std::string best_part(const std::string & own, size_t end_of_name) {
    for (const std::string & level : levels_of_processor()) {
        std::string path = own;
        path.insert(end_of_name, "_" + level);
        if (::access(path.c_str(), F_OK) == 0) {
            return path;
        }
    }
    return {};
}

PyObject * import_error(const std::string & message) {
    PyErr_SetString(PyExc_ImportError, message.c_str());
    return nullptr;
}

}  // namespace

PyMODINIT_FUNC PyInit__core() {
    constexpr std::string_view kName = "_core";
    if (const std::string names = lacking_instructions(); !names.empty()) {
        return import_error("this processor lacks instructions that ltx2cpp and numpy need: " + names +
                            "; both run on x86-64-v2 and later, which is every processor since Nehalem and Bulldozer");
    }
    const std::string own = own_path();
    const size_t name = own.rfind(kName);
    if (name == std::string::npos) {
        return import_error("the dynamic linker does not say where ltx2cpp lies");
    }
    const std::string path = best_part(own, name + kName.size());
    if (path.empty()) {
        return import_error(
            "this package of ltx2cpp has no part for this processor; packages with CUDA need AVX2, FMA, "
            "F16C and BMI2 (Haswell, Zen and later), and the one for the CPU does not");
    }
    void * library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        return import_error("the part of ltx2cpp for this processor could not be loaded (" + std::string(::dlerror()) +
                            "); install ltx2cpp again");
    }
    const auto init = reinterpret_cast<Init>(::dlsym(library, "PyInit__core"));
    return init ? init() : import_error(path + " is not a part of ltx2cpp; install ltx2cpp again");
}
