// The functions of the CUDA driver that ggml's backend calls, each looked up when it is first called.
//
// libcuda.so.1 comes with the driver, and an extension that names it as needed does not load where there is none. The
// runtime library opens the driver in the same way, says there is no device, and none of these is reached.
#include <cuda.h>

#include <dlfcn.h>

namespace {

void * in_driver(const char * name) {
    static void * const driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    return driver == nullptr ? nullptr : ::dlsym(driver, name);
}

}  // namespace

#define LTX_FROM_DRIVER(name, parameters, arguments)                                      \
    extern "C" CUresult CUDAAPI name parameters {                                         \
        static const auto function = reinterpret_cast<decltype(&name)>(in_driver(#name)); \
        return function == nullptr ? CUDA_ERROR_NOT_INITIALIZED : function arguments;     \
    }

LTX_FROM_DRIVER(cuDeviceGet, (CUdevice * device, int ordinal), (device, ordinal))
LTX_FROM_DRIVER(cuDeviceGetAttribute, (int * value, CUdevice_attribute name, CUdevice device), (value, name, device))
LTX_FROM_DRIVER(cuMemAddressFree, (CUdeviceptr address, size_t size), (address, size))
LTX_FROM_DRIVER(cuMemAddressReserve,
                (CUdeviceptr * address, size_t size, size_t alignment, CUdeviceptr wish, unsigned long long flags),
                (address, size, alignment, wish, flags))
LTX_FROM_DRIVER(cuMemCreate,
                (CUmemGenericAllocationHandle * memory, size_t size, const CUmemAllocationProp * properties,
                 unsigned long long flags),
                (memory, size, properties, flags))
LTX_FROM_DRIVER(cuMemGetAllocationGranularity,
                (size_t * granularity, const CUmemAllocationProp * properties, CUmemAllocationGranularity_flags option),
                (granularity, properties, option))
LTX_FROM_DRIVER(cuMemMap,
                (CUdeviceptr address, size_t size, size_t offset, CUmemGenericAllocationHandle memory,
                 unsigned long long flags),
                (address, size, offset, memory, flags))
LTX_FROM_DRIVER(cuMemRelease, (CUmemGenericAllocationHandle memory), (memory))
LTX_FROM_DRIVER(cuMemSetAccess, (CUdeviceptr address, size_t size, const CUmemAccessDesc * access, size_t count),
                (address, size, access, count))
LTX_FROM_DRIVER(cuMemUnmap, (CUdeviceptr address, size_t size), (address, size))

extern "C" CUresult CUDAAPI cuGetErrorString(CUresult error, const char ** text) {
    static const auto function = reinterpret_cast<decltype(&cuGetErrorString)>(in_driver("cuGetErrorString"));
    if (function == nullptr) {
        *text = "there is no CUDA driver";
        return CUDA_SUCCESS;
    }
    return function(error, text);
}
