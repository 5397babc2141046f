// Stands in for libvulkan.so.1: the machine's own, but after LOSE_AFTER submissions the device is lost.
//
//     g++ -shared -fPIC losing_vulkan.cpp -o FOLDER/libvulkan.so.1 -DLOADER='"/usr/lib/.../libvulkan.so.1"'
#include <dlfcn.h>
#include <vulkan/vulkan_core.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <string_view>

namespace {

template <typename Function>
Function real(const char * name) {
    static void * const loader = ::dlopen(LOADER, RTLD_NOW | RTLD_LOCAL);
    return reinterpret_cast<Function>(::dlsym(loader, name));
}

std::atomic<bool> is_lost = false;

VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue queue, uint32_t count, const VkSubmitInfo * infos, VkFence fence) {
    static const long last = std::atol(std::getenv("LOSE_AFTER"));
    static std::atomic<long> submissions = 0;
    is_lost = ++submissions > last;
    return is_lost ? VK_ERROR_DEVICE_LOST : real<PFN_vkQueueSubmit>("vkQueueSubmit")(queue, count, infos, fence);
}

VKAPI_ATTR VkResult VKAPI_CALL wait(VkDevice device, uint32_t count, const VkFence * fences, VkBool32 all,
                                    uint64_t timeout) {
    return is_lost ? VK_ERROR_DEVICE_LOST
                   : real<PFN_vkWaitForFences>("vkWaitForFences")(device, count, fences, all, timeout);
}

VKAPI_ATTR VkResult VKAPI_CALL status(VkDevice device, VkFence fence) {
    return is_lost ? VK_ERROR_DEVICE_LOST : real<PFN_vkGetFenceStatus>("vkGetFenceStatus")(device, fence);
}

}  // namespace

extern "C" {

PFN_vkVoidFunction vkGetInstanceProcAddr(VkInstance instance, const char * name) {
    const std::map<std::string_view, PFN_vkVoidFunction> ours{
        {"vkQueueSubmit", reinterpret_cast<PFN_vkVoidFunction>(&submit)},
        {"vkWaitForFences", reinterpret_cast<PFN_vkVoidFunction>(&wait)},
        {"vkGetFenceStatus", reinterpret_cast<PFN_vkVoidFunction>(&status)},
    };
    if (const auto found = ours.find(name); found != ours.end()) {
        return found->second;
    }
    return real<PFN_vkGetInstanceProcAddr>("vkGetInstanceProcAddr")(instance, name);
}

PFN_vkVoidFunction vkGetDeviceProcAddr(VkDevice device, const char * name) {
    return real<PFN_vkGetDeviceProcAddr>("vkGetDeviceProcAddr")(device, name);
}

void vkGetPhysicalDeviceFeatures2(VkPhysicalDevice device, VkPhysicalDeviceFeatures2 * features) {
    real<PFN_vkGetPhysicalDeviceFeatures2>("vkGetPhysicalDeviceFeatures2")(device, features);
}

void vkCmdCopyBuffer(VkCommandBuffer commands, VkBuffer source, VkBuffer destination, uint32_t count,
                     const VkBufferCopy * regions) {
    real<PFN_vkCmdCopyBuffer>("vkCmdCopyBuffer")(commands, source, destination, count, regions);
}

}  // extern "C"
