// Opens the system's Vulkan loader when ggml first asks for a function. Linked instead of the loader, it lets the
// extension be imported on machines that have none: ggml then finds no device there.
#include <dlfcn.h>
#include <vulkan/vulkan_core.h>

#include <cstring>

namespace {

// Never closed: drivers leave threads and handlers behind that run to the end of the process.
void * loader() {
    static void * const handle = ::dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    return handle;
}

template <typename Function>
Function find(const char * name) {
    return loader() ? reinterpret_cast<Function>(::dlsym(loader(), name)) : nullptr;
}

// What ggml asks first, and takes an error of for a machine without Vulkan.
VKAPI_ATTR VkResult VKAPI_CALL no_version(uint32_t * /*version*/) {
    return VK_ERROR_INITIALIZATION_FAILED;
}

}  // namespace

extern "C" {

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance, const char * name) {
    static const auto get = find<PFN_vkGetInstanceProcAddr>("vkGetInstanceProcAddr");
    if (get) {
        return get(instance, name);
    }
    return std::strcmp(name, "vkEnumerateInstanceVersion") == 0 ? reinterpret_cast<PFN_vkVoidFunction>(&no_version)
                                                                : nullptr;
}

// The others are called with handles, which only a loader hands out.

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetDeviceProcAddr(VkDevice device, const char * name) {
    static const auto get = find<PFN_vkGetDeviceProcAddr>("vkGetDeviceProcAddr");
    return get(device, name);
}

VKAPI_ATTR void VKAPI_CALL vkGetPhysicalDeviceFeatures2(VkPhysicalDevice device, VkPhysicalDeviceFeatures2 * features) {
    static const auto get = find<PFN_vkGetPhysicalDeviceFeatures2>("vkGetPhysicalDeviceFeatures2");
    get(device, features);
}

VKAPI_ATTR void VKAPI_CALL vkCmdCopyBuffer(VkCommandBuffer commands, VkBuffer source, VkBuffer destination,
                                           uint32_t count, const VkBufferCopy * regions) {
    static const auto copy = find<PFN_vkCmdCopyBuffer>("vkCmdCopyBuffer");
    copy(commands, source, destination, count, regions);
}

}  // extern "C"
